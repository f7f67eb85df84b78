"""What a run of the tests is said to have cost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from ops.process import wait_until
from tests.forks import Fork
from tests.processor_time import processor_s

WORK_S = 0.2
DEADLINE_S = 60.0


def compute() -> None:
    until = time.thread_time() + WORK_S
    while time.thread_time() < until:
        pass


def grows(since_s: float) -> Callable[[], bool]:
    return lambda: processor_s(os.getpid()) >= since_s + 0.9 * WORK_S  # The kernel counts in hundredths of a second.


def test_own_work_counts() -> None:
    before = processor_s(os.getpid())
    compute()
    assert grows(before)()


def test_work_of_a_process_counts_once_it_has_ended() -> None:
    before = processor_s(os.getpid())
    Fork(compute).result()
    assert grows(before)()


def test_work_of_a_process_counts_while_it_lives() -> None:
    before = processor_s(os.getpid())
    reading, writing = os.pipe()

    def compute_and_stay() -> None:
        compute()
        os.close(writing)
        os.read(reading, 1)

    busy = Fork(compute_and_stay)
    os.close(reading)
    try:
        assert wait_until(grows(before), DEADLINE_S)
    finally:
        os.close(writing)
        busy.result()


def test_process_that_is_not_there_costs_nothing() -> None:
    ended = Fork(os.getpid)
    assert processor_s(ended.result()) == 0.0
