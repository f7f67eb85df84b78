"""Another process for a test that wants one, without a second import of the libraries: a fork of the one that tests."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

T = TypeVar("T")

_FORK = multiprocessing.get_context("fork")


class Fork(Generic[T]):
    """
    A function that runs in a fork of this process from now on.

    It is given what it needs by its closure; what it returns has to be picklable. Only the thread that forks is there.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._answer, theirs = _FORK.Pipe(duplex=False)
        self._process = _FORK.Process(target=_tell, args=(function, theirs))
        self._process.start()
        theirs.close()

    def result(self) -> T:
        """What it returned, once the process has ended. `EOFError` where it raised: its traceback was printed."""
        with self._answer:
            try:
                found: T = self._answer.recv()
            finally:
                self._process.join()
        return found


def _tell(function: Callable[[], object], answer: Connection) -> None:
    answer.send(function())
