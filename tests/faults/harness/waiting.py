"""Waits for what should happen, with a deadline: a machine that is busy gets time, a hang shows itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 90.0  # for what is no promise of a time, only has to happen
_POLL_INTERVAL_S = 0.02


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
