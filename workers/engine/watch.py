"""Watches over calls of the device, for one that hangs never returns to say so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DEFAULT_HANG_S = 60.0
_TIMES_MEASURED = 10.0


class Watch:
    """
    Which calls are under way; written by the engine's threads, read by another.

    Args:
        hang_s: A call may take this long, or ten times as long as it took when it was measured. Measuring and compiling
            are not calls, and may take as long as they like.
        clock: In seconds.
    """

    def __init__(self, hang_s: float = DEFAULT_HANG_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._hang_s = hang_s
        self._clock = clock
        self._calls: dict[str, tuple[float, float]] = {}  # lane: when it began, how long it may take

    @contextmanager
    def call(self, lane: str, measured_s: float = 0.0, calls: int = 1) -> Iterator[None]:
        """A call of the device, from its beginning to its end; or several in a row."""
        self._calls[lane] = (self._clock(), calls * max(self._hang_s, _TIMES_MEASURED * measured_s))
        try:
            yield
        finally:
            self._calls.pop(lane, None)

    def touch(self, lane: str) -> None:
        """A call that is many in one has come a step further."""
        if lane in self._calls:
            self._calls[lane] = (self._clock(), self._calls[lane][1])

    def overdue_s(self, now: float) -> float | None:
        """How long the longest call has been running that should have ended; None where all is well."""
        running = [now - began for began, may_take in list(self._calls.values()) if now - began > may_take]
        return max(running, default=None)
