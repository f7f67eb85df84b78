"""Ctrl-C, SIGTERM and a closed terminal, as questions to ask instead of exceptions that may come anywhere."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """
    Counts the signals that ask to stop: the first asks, the second asks not to wait.

    An exception could cut the stopping itself short and leave processes behind. A plain number, because an event's lock
    may be held by the very code that the signal interrupts.
    """

    def __init__(self) -> None:
        self._count = 0

    def is_stopping(self) -> bool:
        """Whether somebody asked to stop."""
        return self._count >= 1

    def is_hurried(self) -> bool:
        """Whether somebody asked twice."""
        return self._count >= 2

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
