"""The Python client for coroutines, over the same parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Literal, Self

from jobs.envelope import Priority
from jobs.fleet.fleet import WorkerReport
from jobs.process.settings import Settings
from jobs.table.events import Event
from jobs.table.states import Status
from jobs.table.table import QueueCounts
from jobs.view import JobView, view_of
from producer.client.async_job import AsyncJob
from producer.client.image import Image, images_of
from producer.client.loop import LoopParts
from producer.client.parts import open_parts
from storage.settings import StorageSettings


class AsyncClient:
    """
    Submits jobs and asks for them. One serves a whole event loop; close it, or use it as a context manager.

    Attributes:
        parts: Its parts, for callers who need more.
        loop: What this event loop asks and waits with.

    Example:
        >>> async with AsyncClient() as client:
        ...     job = await client.submit("a large red circle on a blue background", seed=7)
        ...     (await job.images())[0].save("circle.png")
    """

    def __init__(self, settings: Settings | None = None, storage: StorageSettings | None = None) -> None:
        self.parts = open_parts(settings, storage)
        self.loop = LoopParts(self.parts)

    async def submit(self, prompt: str | None = None, **fields: Any) -> AsyncJob:
        """Submit one job. Fields and errors as in `Client.submit`."""
        request = fields if prompt is None else {"prompt": prompt, **fields}
        return self.job(await self.loop.run(lambda: self.parts.submitter.submit(request)))

    async def submit_many(self, requests: Iterable[Mapping[str, Any]]) -> list[AsyncJob]:
        """Submit many jobs. Requests and errors as in `Client.submit_many`."""
        job_ids = await self.loop.run(lambda: self.parts.submitter.submit_many(requests))
        return [self.job(job_id) for job_id in job_ids]

    def job(self, job_id: str) -> AsyncJob:
        """The handle of a job submitted earlier, by anybody."""
        return AsyncJob(job_id, self.loop)

    async def status(self, job_id: str) -> JobView:
        """`AsyncJob.status`, by the job's id."""
        return await self.job(job_id).status()

    async def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """`AsyncJob.wait`, by the job's id."""
        return await self.job(job_id).wait(timeout_s)

    def events(self, job_id: str, after: str = "0") -> AsyncIterator[Event]:
        """`AsyncJob.events`, by the job's id."""
        return self.job(job_id).events(after)

    async def cancel(self, job_id: str) -> JobView:
        """`AsyncJob.cancel`, by the job's id."""
        return await self.job(job_id).cancel()

    async def reprioritize(
        self, job_id: str, priority: Priority | None = None, position: Literal["front"] | None = None
    ) -> JobView:
        """`AsyncJob.reprioritize`, by the job's id."""
        return await self.job(job_id).reprioritize(priority, position)

    def images(self, record: JobView) -> list[Image]:
        """The images of a finished job. Raises `JobFailed` where it ended without."""
        return images_of(record, self.parts.store)

    async def queues(self) -> list[QueueCounts]:
        """How many jobs each queue holds."""
        return await self.loop.run(self.parts.table.queues)

    async def list_jobs(
        self,
        caller: str | None = None,
        status: Status | None = None,
        model: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> tuple[list[JobView], str | None]:
        """A page of jobs, the last to be submitted first. Arguments and errors as in `JobTable.list_jobs`."""
        ask = self.parts.table.list_jobs
        records, behind = await self.loop.run(lambda: ask(caller, status, model, limit, cursor))
        return [view_of(each) for each in records], behind

    async def workers(self) -> list[WorkerReport]:
        """Which workers there are, and what they do."""
        return await self.loop.run(self.parts.fleet.workers)

    async def aclose(self) -> None:
        """Let everybody go who waits, and close the connections."""
        await self.loop.aclose()
        self.parts.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
