"""
Clients that are slow to read their answers: each answer that waits for its client is memory of this process.

nginx and its like have a bound of the same sort (`send_timeout`); uvicorn has none, and keeps what nobody reads.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass

import structlog

log = structlog.get_logger()

LOOK_S = 60.0  # How often a client that has not read all of its answer is looked at.
SLOWEST_SHARE = 1 / 32  # Of what it had not read, to be read meanwhile: 16 KB a second of 30 MB, or it stays for days.
MOST_UNREAD_BYTES = 256 << 20  # Of all clients together; the one that is behind for longest is dropped first.
KERNEL_BYTES = 131_072  # Of an answer, kept by the kernel before it is sent: more would hide that nobody reads.
_AT_ONCE = struct.pack("ii", 1, 0)  # To close by a reset: else the kernel goes on with what it has, for minutes.


@dataclass(slots=True)
class _Unread:
    """What a client had not read when it was last looked at, what was added since, and when it is looked at again."""

    unread_bytes: int
    timer: asyncio.TimerHandle
    added_bytes: int = 0


class Readers:
    """The clients that have not read all of their answers: the one owner of how slow each may be."""

    def __init__(self) -> None:
        self._unread: dict[asyncio.Transport, _Unread] = {}  # In the order in which they began.

    def note(self, transport: asyncio.Transport, written_bytes: int) -> None:
        """So many bytes have just been written for a client; until it has taken them, it is looked at."""
        size = transport.get_write_buffer_size()
        unread = self._unread.get(transport)
        if size == 0:
            self.forget(transport)
        elif unread is None:
            timer = asyncio.get_running_loop().call_later(LOOK_S, self.look, transport)
            self._unread[transport] = _Unread(size, timer)
        else:
            unread.added_bytes += written_bytes
        if size > KERNEL_BYTES:
            self._keep_within_bounds()

    def forget(self, transport: asyncio.Transport) -> None:
        """It has taken all, or is gone."""
        unread = self._unread.pop(transport, None)
        if unread is not None:
            unread.timer.cancel()

    def look(self, transport: asyncio.Transport) -> None:
        """Drop a client that has taken too little since the last time."""
        unread, size = self._unread[transport], transport.get_write_buffer_size()
        taken = unread.unread_bytes + unread.added_bytes - size
        if size == 0:
            self.forget(transport)
        elif taken < unread.unread_bytes * SLOWEST_SHARE:
            self._drop(transport, "a client does not read its answer")
        else:
            unread.unread_bytes, unread.added_bytes = size, 0
            unread.timer = asyncio.get_running_loop().call_later(LOOK_S, self.look, transport)

    def _keep_within_bounds(self) -> None:
        for transport in [each for each in self._unread if each.get_write_buffer_size() == 0]:
            self.forget(transport)
        sizes = {each: each.get_write_buffer_size() for each in self._unread}
        total = sum(sizes.values())
        for transport, size in list(sizes.items())[:-1]:
            if total <= MOST_UNREAD_BYTES:
                return
            total -= size
            self._drop(transport, "clients together do not read enough of their answers")

    def _drop(self, transport: asyncio.Transport, reason: str) -> None:
        log.info("connection dropped", reason=reason, unread_bytes=transport.get_write_buffer_size())
        self.forget(transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        transport.abort()
