"""
Those who are slow to read what they asked for: each answer that waits for its client is memory of this process.

nginx and its like have a bound of the same sort (`send_timeout`); uvicorn has none, and keeps what nobody reads.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass

import structlog

log = structlog.get_logger()

LOOK_S = 60.0  # How often a client that is owed something is looked at.
SLOWEST_SHARE = (
    1 / 32
)  # Of what it was owed, to be taken meanwhile: 16 KB a second of 30 MB, or they would stay for days.
MOST_OWED_BYTES = 256 << 20  # By the process in all; who has been owed for longest goes first.
KERNEL_BYTES = 131_072  # Of an answer, kept by the kernel before it is sent: more would hide that nobody reads.
_AT_ONCE = struct.pack("ii", 1, 0)  # To close by a reset: else the kernel goes on with what it has, for minutes.


@dataclass(slots=True)
class _Debt:
    """What a client was owed when it was last looked at, what was added since, and when it is looked at again."""

    owed_bytes: int
    timer: asyncio.TimerHandle
    added_bytes: int = 0


class Readers:
    """The clients that are owed bytes by this process: the one owner of how slow each may be."""

    def __init__(self) -> None:
        self._debts: dict[asyncio.Transport, _Debt] = {}  # In the order in which they began.

    def note(self, transport: asyncio.Transport, written_bytes: int) -> None:
        """So many bytes have just been written for a client; until it has taken them, it is looked at."""
        owed = transport.get_write_buffer_size()
        debt = self._debts.get(transport)
        if owed == 0:
            self.forget(transport)
        elif debt is None:
            timer = asyncio.get_running_loop().call_later(LOOK_S, self.look, transport)
            self._debts[transport] = _Debt(owed, timer)
        else:
            debt.added_bytes += written_bytes
        if owed > KERNEL_BYTES:
            self._keep_within_bounds()

    def forget(self, transport: asyncio.Transport) -> None:
        """It has taken all, or is gone."""
        debt = self._debts.pop(transport, None)
        if debt is not None:
            debt.timer.cancel()

    def look(self, transport: asyncio.Transport) -> None:
        """Drop a client that has taken too little since the last time."""
        debt, owed = self._debts[transport], transport.get_write_buffer_size()
        taken = debt.owed_bytes + debt.added_bytes - owed
        if owed == 0:
            self.forget(transport)
        elif taken < debt.owed_bytes * SLOWEST_SHARE:
            self._drop(transport, "a client does not read its answer")
        else:
            debt.owed_bytes, debt.added_bytes = owed, 0
            debt.timer = asyncio.get_running_loop().call_later(LOOK_S, self.look, transport)

    def _keep_within_bounds(self) -> None:
        for transport in [each for each in self._debts if each.get_write_buffer_size() == 0]:
            self.forget(transport)
        sizes = {each: each.get_write_buffer_size() for each in self._debts}
        total = sum(sizes.values())
        for transport, size in list(sizes.items())[:-1]:
            if total <= MOST_OWED_BYTES:
                return
            total -= size
            self._drop(transport, "clients together do not read enough of their answers")

    def _drop(self, transport: asyncio.Transport, reason: str) -> None:
        log.info("connection dropped", reason=reason, unread_bytes=transport.get_write_buffer_size())
        self.forget(transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        transport.abort()
