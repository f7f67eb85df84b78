"""Bytes that come in pieces, for what reads them as if they were all there: it stops where it needs more."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")
Steps = Generator[None, None, Result]  # Stops where it needs bytes that have not come yet.


class Pieces:
    """The bytes that have come and were not passed over yet; `total`: how many ever came."""

    def __init__(self) -> None:
        self.total = 0
        self._rest = bytearray()

    def add(self, piece: bytes) -> None:
        """There are more."""
        self._rest += piece
        self.total += len(piece)

    def look(self, count: int) -> Steps[bytes]:
        """The next bytes, which stay."""
        while len(self._rest) < count:
            yield
        return bytes(self._rest[:count])

    def take(self, count: int) -> Steps[bytes]:
        """The next bytes."""
        found = yield from self.look(count)
        del self._rest[:count]
        return found

    def skip(self, count: int) -> Steps[None]:
        """Pass over the next bytes."""
        while len(self._rest) < count:
            count -= len(self._rest)
            self._rest.clear()
            yield
        del self._rest[:count]

    def skip_behind(self, mark: bytes) -> Steps[None]:
        """Pass over all up to the end of a mark."""
        while (at := self._rest.find(mark)) < 0:
            del self._rest[: 1 - len(mark)]
            yield
        del self._rest[: at + len(mark)]
