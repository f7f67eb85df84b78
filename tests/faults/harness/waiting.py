"""Waits for what should happen, with a deadline: a machine that is busy gets time, a hang shows itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 90.0  # for what is no promise of a time, only has to happen
_POLL_INTERVAL_S = 0.02


def on_this_machine(promised_s: float) -> float:
    """What a promise of a time comes to on a machine that has more to do than it has processors: longer by as much."""
    return promised_s * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def until(what: str, ask: Callable[[], T | None], deadline_s: float = PATIENCE_S) -> T:
    """
    Ask again and again until the answer is true, and return it.

    Raises:
        AssertionError: It did not come true in time; says what.
    """
    end = time.monotonic() + deadline_s
    while not (answer := ask()):
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        time.sleep(_POLL_INTERVAL_S)
    return answer
