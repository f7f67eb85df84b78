"""Requests over kept connections, as fast as they are answered or at a pace, and how long each answer took."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

CONNECTIONS = 32
_CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """
    An API.

    Attributes:
        job_id: One that waits.
        token: Of an API key; empty for none.
    """

    host: str
    port: int
    job_id: str = ""
    token: str = ""

    def head(self, method: str, path: str, *lines: str) -> bytes:
        """Of a request."""
        key = [f"Authorization: Bearer {self.token}"] if self.token else []
        first = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        return "\r\n".join([*first, *key, *lines, "", ""]).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """
    What was answered.

    Attributes:
        per_s: Answers a second.
        took_s: Of each, in the order of their coming. At a pace it counts from when the request was due.
        statuses: How often each.
    """

    per_s: float
    took_s: Sequence[float]
    statuses: Counter[str]

    def percentile_ms(self, percent: float) -> float:
        """The time within which so many answers came."""
        return percentile_ms(self.took_s, percent)


def percentile_ms(seconds: Sequence[float], percent: float) -> float:
    """The time within which so many of these were over; endless, if there are none."""
    ordered = sorted(seconds)
    if not ordered:
        return math.inf
    return 1_000 * ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)]


class Connection:
    """One that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, request: bytes) -> str:
        """The status of the answer, which has a length."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await self._reader.readexactly(int(length))
        return head[9:12].decode()

    async def status(self) -> str:
        """Of an answer that comes, or "closed"; what is behind its first line is left."""
        line = await self._reader.readline()
        return line[9:12].decode() or _CLOSED

    async def answer(self) -> tuple[str, bytes]:
        """Status and body of an answer that comes, of a known length or in chunks."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status = head[9:12].decode()
        if b"transfer-encoding: chunked" in head:
            return status, b"".join([chunk async for chunk in self._chunks()])
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        return status, await self._reader.readexactly(int(length or 0))

    async def _chunks(self) -> AsyncIterator[bytes]:
        while length := int(await self._reader.readline(), 16):
            yield (await self._reader.readexactly(length + 2))[:-2]
        await self._reader.readline()

    def stop_reading(self) -> None:
        """For good: what comes fills the kernel's buffer, and then the sender's."""
        transport = self._writer.transport
        if isinstance(transport, asyncio.ReadTransport):
            transport.pause_reading()

    async def send(self, content: bytes) -> None:
        """Raises `ConnectionError` where nobody takes it any more."""
        self._writer.write(content)
        await self._writer.drain()

    async def read(self) -> bytes:
        """Something that comes; b"" at the end."""
        return await self._reader.read(65_536)


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Connection]:
    """A connection for a while."""
    reader, writer = await asyncio.open_connection(target.host, target.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def flat_out(target: Target, path: str, seconds: float, connections: int = CONNECTIONS) -> Load:
    """Each connection asks again as soon as it has its answer."""
    request, until = target.head("GET", path), time.perf_counter() + seconds
    took_s: list[float] = []
    statuses: Counter[str] = Counter()

    async def ask() -> None:
        async with connected(target) as connection:
            while (begun := time.perf_counter()) < until:
                statuses[await connection.ask(request)] += 1
                took_s.append(time.perf_counter() - begun)

    started = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(connections)))
    return Load(per_s=len(took_s) / (time.perf_counter() - started), took_s=took_s, statuses=statuses)


async def paced(target: Target, path: str, per_s: float, seconds: float, connections: int = CONNECTIONS) -> Load:
    """A request each 1/`per_s`, whether those before are answered or not."""
    request, count = target.head("GET", path), int(per_s * seconds)
    took_s: list[float] = []
    statuses: Counter[str] = Counter()

    async def ask(connection: Connection, first: int, started: float) -> None:
        for number in range(first, count, connections):
            due = started + number / per_s
            await asyncio.sleep(due - time.perf_counter())
            statuses[await connection.ask(request)] += 1
            took_s.append(time.perf_counter() - due)

    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connected(target)) for _ in range(connections)]
        await asyncio.gather(*(each.ask(request) for each in opened))
        started = time.perf_counter()
        await asyncio.gather(*(ask(each, first, started) for first, each in enumerate(opened)))
        return Load(per_s=count / (time.perf_counter() - started), took_s=took_s, statuses=statuses)
