"""
What an event loop adds to a process' parts: asking and waiting without a thread, and a few threads for all the rest.

However many coroutines wait for jobs, one connection listens for all of them (`producer.client.waiters`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import redis.asyncio

from jobs.redis.connection import connect_async
from producer.client.async_reader import AsyncReader
from producer.client.followed_jobs import FollowedJobs
from producer.client.loop_turns import aside
from producer.client.parts import Parts
from producer.client.turns import SharedThreads
from producer.client.waiters import Waiters

Result = TypeVar("Result")

_CONNECTIONS = 32
_THREADS = 16
_READERS = 16
_FINDERS = 8  # Each may hold a whole file.
_WRITERS = 8
# Python runs one of all threads at a time: with more of these that compute, the loop hardly has a turn.
_BULK_THREADS = 2


class LoopParts:
    """
    One for each event loop; close it before the parts that it stands on.

    Attributes:
        parts: Of the process. Their methods block: `run` them.
        redis: Connections of this loop; others in it may use them, too.
        reader: What is asked often.
        waiters: Everybody who waits for jobs.
        followed_jobs: The jobs among them that are followed step by step.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.redis: redis.asyncio.Redis = connect_async(parts.settings, _CONNECTIONS)
        self.reader = AsyncReader(self.redis, parts.settings)
        self.waiters = Waiters(self.redis, parts.settings)
        self.followed_jobs = FollowedJobs(self.reader.watch)
        self._threads = SharedThreads(_THREADS, "client")
        # Of their own: neither a store that hangs nor hundreds of jobs at once may keep a job from being submitted.
        self._readers = SharedThreads(_READERS, "store")
        self._finders = SharedThreads(_FINDERS, "inputs", most_of_one=_FINDERS // 2)
        self._writers = SharedThreads(_WRITERS, "uploads")
        self._bulk = SharedThreads(_BULK_THREADS, "bulk")

    async def run(self, call: Callable[[], Result]) -> Result:
        """Run a call that blocks in one of the threads, which callers get by turns."""
        return await self._threads.run(call)

    async def run_bulk(self, call: Callable[[], Result]) -> Result:
        """
        The same of a call that has many jobs. A caller's turn is one call: a hundred jobs are enough for it.

        A caller that is canceled stays until it has ended.
        """
        return await aside(self._bulk.run(call, to_its_end=True))

    async def find(self, call: Callable[[], Result]) -> Result:
        """The same of a call that finds inputs: whose hosts are slow holds up no one but himself."""
        return await aside(self._finders.run(call))

    async def read(self, key: str) -> bytes:
        """Read an object of the image store. Raises as `Store.get` does."""
        read: Callable[[str], bytes] = self.parts.store.get
        return await aside(self._readers.run(lambda: read(key)))

    async def write(self, call: Callable[[], Result]) -> Result:
        """Run a call that writes to the image store. A caller that is canceled stays until it has ended."""
        return await aside(self._writers.run(call, to_its_end=True))

    async def size(self, key: str) -> int:
        """How many bytes an object of the image store has. Raises as `Store.size` does."""
        size: Callable[[str], int] = self.parts.store.size
        return await aside(self._readers.run(lambda: size(key)))

    async def aclose(self) -> None:
        """Let everybody go who waits, and close the connections of this loop."""
        await self.waiters.aclose()
        await self.followed_jobs.aclose()
        await self.redis.aclose()
        self._readers.shutdown(wait=False)
        self._finders.shutdown(wait=False)
        for threads in (self._writers, self._bulk, self._threads):
            await asyncio.to_thread(threads.shutdown, wait=True)
