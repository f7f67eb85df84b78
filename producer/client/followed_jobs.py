"""Jobs that coroutines of a loop follow: they are reported to Redis together, repeatedly, while that is so."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import structlog

from jobs.table.watching import FOLLOW_EVERY_S

log = structlog.get_logger()


class FollowedJobs:
    """
    One for each event loop.

    Args:
        watch: Reports that these jobs are being read; never raises.
    """

    def __init__(self, watch: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        self._watch = watch
        self._followed: Counter[str] = Counter()  # by job: by how many
        self._saying: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def following(self, job_id: str) -> AsyncIterator[None]:
        """The job is followed meanwhile: its progress is published as it happens."""
        self._followed[job_id] += 1
        try:
            await self._watch([job_id])
            if self._saying is None or self._saying.done():
                self._saying = asyncio.create_task(self._say_again(), name="followed jobs")
            yield
        finally:
            self._followed[job_id] -= 1
            if not self._followed[job_id]:
                del self._followed[job_id]

    async def _say_again(self) -> None:
        while self._followed:
            await asyncio.sleep(FOLLOW_EVERY_S)
            try:
                await self._watch(list(self._followed))
            except Exception:  # All that is followed hangs on this one task.
                log.exception("bug in what says that jobs are followed")

    async def aclose(self) -> None:
        """Say no more."""
        if self._saying is not None:
            self._saying.cancel()
            await asyncio.gather(self._saying, return_exceptions=True)
