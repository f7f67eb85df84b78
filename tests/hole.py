"""A server that swallows whatever is said to it, as a network does that loses packets: connections, and no answers."""

from __future__ import annotations

import socket
from typing import Self

from ops.process import LOOPBACK

_WAITING = 1024  # connections


class BlackHole:
    """As long as the `with` block lasts."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._caught: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._listener.bind((LOOPBACK, 0))
        self._listener.listen(_WAITING)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nobody is there any more, and who was connected hears of it."""
        for each in (*self._caught, self._listener):
            each.close()

    @property
    def url(self) -> str:
        """Of a Redis, as whoever is to fall into it is told."""
        return f"redis://{LOOPBACK}:{self._listener.getsockname()[1]}/0"

    def has_caught(self, deadline_s: float = 0.0) -> bool:
        """Whether somebody connects within that time whom nobody has asked for yet."""
        self._listener.settimeout(deadline_s)
        try:
            caught, _ = self._listener.accept()
        except (BlockingIOError, TimeoutError):
            return False
        self._caught.append(caught)
        return True
