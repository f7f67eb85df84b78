"""
A bound on the memory that files take, all jobs together: while they are made, and until they are stored.

Requests bound what one image may cost; this bounds how many are made at a time, so that the largest outputs of one
caller neither kill the worker nor hold up others: a small image passes the large ones that wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Taken:
    """What somebody has of a budget: `size_bytes` of it."""

    def __init__(self, size_bytes: int, give: Callable[[int], None]) -> None:
        self.size_bytes = size_bytes
        self._give = give

    def keep(self, wanted_bytes: int) -> None:
        """Give back what is beyond so many bytes."""
        beyond = max(0, self.size_bytes - wanted_bytes)
        self.size_bytes -= beyond
        self._give(beyond)


class MemoryBudget:
    """
    A number of bytes; a job that needs more than is left waits.

    Args:
        max_bytes: In all. Something larger has the whole budget, and so goes alone.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._freed = threading.Condition()  # guards what follows
        self._used_bytes = 0

    @contextmanager
    def take(self, wanted_bytes: int, *, reason: Callable[[], Exception | None] = lambda: None) -> Iterator[Taken]:
        """
        Have so many bytes until the end of the block.

        Args:
            reason: Why not to wait any more; asked again at each `look_again`.

        Raises:
            Exception: What `reason` returned.
        """
        size = min(wanted_bytes, self._max_bytes)
        with self._freed:
            self._freed.wait_for(lambda: reason() is not None or self._used_bytes + size <= self._max_bytes)
            if (why := reason()) is not None:
                raise why
            self._used_bytes += size
        taken = Taken(size, self._give)
        try:
            yield taken
        finally:
            taken.keep(0)

    @property
    def used_bytes(self) -> int:
        """How much of it somebody has now."""
        with self._freed:
            return self._used_bytes

    def _give(self, size: int) -> None:
        with self._freed:
            self._used_bytes -= size
            self._freed.notify_all()

    def look_again(self) -> None:
        """Somebody who waits may have a reason now not to."""
        with self._freed:
            self._freed.notify_all()
