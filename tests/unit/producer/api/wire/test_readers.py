"""How long a client may leave its answer unread: real connections, of which a test reads as much as it likes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from producer.api.wire import readers
from producer.api.wire.readers import Readers

pytestmark = pytest.mark.anyio

ANSWER_BYTES = 4 << 20
Client = tuple[asyncio.Transport, socket.socket]


@asynccontextmanager
async def client(watch: Readers, size: int = ANSWER_BYTES) -> AsyncIterator[Client]:
    """A connection on which so many bytes were written, and its other side."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    transport.write(b"a" * size)
    watch.note(transport, size)
    try:
        yield transport, theirs
    finally:
        watch.forget(transport)
        transport.abort()
        theirs.close()
        await asyncio.sleep(0)


async def take(client: Client, size: int) -> None:
    """Read until so many more bytes of ours are gone."""
    transport, theirs = client
    before = transport.get_write_buffer_size()
    while before - transport.get_write_buffer_size() < size:
        await asyncio.get_running_loop().sock_recv(theirs, 65_536)


async def test_client_that_reads_nothing_is_dropped() -> None:
    watch = Readers()
    async with client(watch) as (transport, _):
        assert transport.get_write_buffer_size() > ANSWER_BYTES / 2
        watch.look(transport)
        assert transport.is_closing()


async def test_client_that_reads_its_share_stays_until_it_stops() -> None:
    watch = Readers()
    async with client(watch) as reading:
        for _ in range(3):
            await take(reading, int(ANSWER_BYTES * readers.SLOWEST_SHARE))
            watch.look(reading[0])
            assert not reading[0].is_closing()
        watch.look(reading[0])
        assert reading[0].is_closing()


async def test_what_is_written_anew_does_not_look_like_standing_still() -> None:
    watch = Readers()
    async with client(watch) as reading:
        await take(reading, ANSWER_BYTES // 4)
        reading[0].write(b"a" * ANSWER_BYTES)
        watch.note(reading[0], ANSWER_BYTES)
        watch.look(reading[0])
        assert not reading[0].is_closing()
        reading[0].write(b"a" * ANSWER_BYTES)
        watch.note(reading[0], ANSWER_BYTES)
        watch.look(reading[0])
        assert reading[0].is_closing()


async def test_all_together_may_leave_so_much_unread_and_the_oldest_is_dropped_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readers, "MOST_UNREAD_BYTES", 3 * ANSWER_BYTES)
    watch = Readers()
    async with client(watch) as first, client(watch) as second, client(watch) as third:
        assert [each[0].is_closing() for each in (first, second, third)] == [False, False, False]
        async with client(watch) as fourth:
            closing = [each[0].is_closing() for each in (first, second, third, fourth)]
            assert closing == [True, False, False, False]
        async with client(watch, 20 * ANSWER_BYTES) as huge:  # One alone may leave more: there is no smaller answer.
            assert [second[0].is_closing(), third[0].is_closing(), huge[0].is_closing()] == [True, True, False]
