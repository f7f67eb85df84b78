"""
How the engine's threads share a device.

On a GPU each of encode, denoise and finish has a thread and a stream, so that they overlap. On a CPU one thread does
all three: each further thread that calls torch brings an OpenMP team of its own, and with more OpenMP threads than
cores their barriers go through the kernel (a picture took 1.05 s instead of 0.44 s).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_SCHEDULER_STATISTICS = Path("/proc/thread-self/schedstat")


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Everything that this thread computes goes through a stream of its own."""
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device), torch.cuda.stream(torch.cuda.Stream(device)):
        yield


def wait_for_stream(device: torch.device) -> None:
    """Wait until what this thread has asked for is computed, so that any other stream may read it."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def device_clock(device: torch.device) -> Callable[[], float]:
    """
    A clock in seconds for how long the device takes for something.

    On a GPU it reads only when what was asked for is done. On a CPU, the time that this thread waited for a processor
    is left out, for that is what other programs took: batch sizes are measured while a whole system starts. Where
    several threads compute, the others go on meanwhile, and it counts.
    """

    def read() -> float:
        wait_for_stream(device)
        return time.perf_counter()

    return read if device.type == "cuda" else _own_time


def _own_time() -> float:
    if torch.get_num_threads() > 1:
        return time.perf_counter()
    try:
        waited_ns = int(_SCHEDULER_STATISTICS.read_bytes().split()[1])  # "run_delay" of the kernel's sched-stats.rst
    except (OSError, ValueError, IndexError):  # Not Linux, or a kernel without them.
        waited_ns = 0
    return time.perf_counter() - waited_ns / 1e9


class Pacer:
    """Keeps the host at most one pass ahead of a GPU: further ahead, a new job would join behind all that is queued."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last: torch.cuda.Event | None = None

    def after_pass(self) -> None:
        if self._device.type != "cuda":
            return
        if self._last is not None:
            self._last.synchronize()
        self._last = torch.cuda.Event()
        self._last.record(torch.cuda.current_stream(self._device))


class Handover:
    """A point in the stream of the thread that makes it, which the stream of the thread that takes it waits for."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(device))

    def take(self) -> None:
        if self._event is not None:
            torch.cuda.current_stream(self._device).wait_event(self._event)
