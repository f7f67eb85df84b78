"""The handle of a job, for coroutines: waiting needs neither a thread nor a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

from jobs.envelope import Priority
from jobs.errors import WaitTimeout
from jobs.table.events import Event, check_event_id
from jobs.view import JobView, view_of
from producer.client.image import Artifact, Image, artifacts_of, images_of
from producer.client.job import Job
from producer.client.loop import LoopParts


class AsyncJob:
    """A submitted job. Every method asks Redis anew."""

    __slots__ = ("_loop", "id")

    def __init__(self, job_id: str, loop: LoopParts) -> None:
        self.id = job_id
        self._loop = loop

    async def status(self) -> JobView:
        """Its current state. Raises `JobNotFound`."""
        return view_of(await self._loop.reader.look(self.id))

    async def wait(self, timeout_s: float | None = None) -> JobView:
        """
        Wait for the end, however it ends. A Redis that goes away meanwhile is waited for.

        Raises:
            JobNotFound: There is no such job.
            WaitTimeout: It did not end in time, or this process is about to stop; it goes on.
        """
        record = await self._record()
        try:
            async with asyncio.timeout(timeout_s):
                while not record.has_ended:
                    await self._loop.waiters.wait_for_end(self.id)
                    record = await self._record()
                    if self._loop.waiters.is_closed:
                        break
        except TimeoutError as exc:
            raise WaitTimeout(self.id, timeout_s or 0) from exc
        if not record.has_ended:
            raise WaitTimeout(self.id, timeout_s or 0)
        return record

    async def events(self, after: str = "0") -> AsyncIterator[Event]:
        """
        Its events behind `after`, as they come, up to "completed".

        Raises:
            JobNotFound: There is no such job.
            InvalidRequest: `after` is no event id.
        """
        check_event_id(after, "after")
        await self.status()
        async with self._loop.followed_jobs.following(self.id):
            async for event in self._loop.waiters.follow(self.id, after):
                yield event

    async def cancel(self, *, caller: str | None = None) -> JobView:
        """Ask for its end, as `Job.cancel` does."""
        return await self._loop.run(lambda: Job(self.id, self._loop.parts).cancel(caller=caller))

    async def delete_result(self, *, caller: str | None = None) -> JobView:
        """Delete what it made and what it was asked for, as `Job.delete_result` does."""
        return await self._loop.run(lambda: Job(self.id, self._loop.parts).delete_result(caller=caller))

    async def reprioritize(self, priority: Priority | None = None, position: Literal["front"] | None = None) -> JobView:
        """Change its place among its caller's jobs while it waits, as `Job.reprioritize` does."""
        return await self._loop.run(lambda: Job(self.id, self._loop.parts).reprioritize(priority, position))

    async def images(self, timeout_s: float | None = None) -> list[Image]:
        """
        Wait for the job's end and return its images; reading one from storage blocks, as `Image` says.

        Raises:
            JobFailed: It ended without images.
            ResultDeleted: Somebody has deleted them.
            WaitTimeout: It did not end in time.
        """
        return images_of(await self.wait(timeout_s), self._loop.parts.store)

    async def artifacts(self, timeout_s: float | None = None) -> list[Artifact]:
        """Wait for the job's end and return what else it made. Raises as `images` does."""
        return artifacts_of(await self.wait(timeout_s), self._loop.parts.store)

    async def _record(self) -> JobView:
        """As `status`, of a job that is waited for alone: nobody reads how far it is."""
        return view_of(await self._loop.reader.get(self.id))

    def __repr__(self) -> str:
        return f"AsyncJob({self.id!r})"
