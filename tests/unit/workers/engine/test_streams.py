"""The clock that batch sizes are measured by."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import torch

from tests.forks import Fork
from workers.engine.streams import device_clock

_WORK_S = 0.3


def _beside_a_rival() -> tuple[float, float]:
    """Works for 0.3 s of its own time on one processor that a rival keeps busy. Returns both clocks."""
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as rival:
        clock = device_clock(torch.device("cpu"))
        own, wall = clock(), time.perf_counter()
        end = time.thread_time() + _WORK_S
        while time.thread_time() < end:
            pass
        took = clock() - own, time.perf_counter() - wall
        rival.kill()
    return took


def test_time_that_other_programs_took_is_not_the_devices() -> None:
    own_s, wall_s = Fork(_beside_a_rival).result()
    assert own_s < 0.9 * wall_s
