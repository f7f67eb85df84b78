"""
The Python client for coroutines, over the same code: what writes runs in a few threads, what asks and waits needs none.

However many coroutines wait for jobs, one connection hears for all of them (`producer.client.waiters`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar, cast

import redis.asyncio

from jobs import names
from jobs.errors import JobNotFound, RedisUnavailable, WaitTimeout
from jobs.kinds.spec import JobSpec
from jobs.process.settings import Settings
from jobs.redis.connection import connect_async, map_errors
from jobs.table.events import Event, check_event_id
from jobs.table.fleet import WorkerReport
from jobs.table.lua import source_of
from jobs.table.rates import Place, place_of
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.table.submission import Submission, as_written
from jobs.table.table import PRIORITY_RANK, QueueCounts
from producer.client.client import Client
from producer.client.image import Image
from producer.client.waiters import Waiters
from storage.settings import StorageSettings

Result = TypeVar("Result")

_CONNECTIONS = 32
_THREADS = 16


class AsyncClient:
    """
    Submits jobs and asks for them. One serves a whole event loop; close it, or use it as a context manager.

    Attributes:
        client: The client whose methods the threads run.
        redis: What asks; others in the same loop may use it, too.
        waiters: Everybody who waits for jobs.

    Example:
        >>> async with AsyncClient() as client:
        ...     job = await client.submit("a large red circle on a blue background", seed=7)
        ...     (await job.images())[0].save("circle.png")
    """

    def __init__(self, settings: Settings | None = None, storage: StorageSettings | None = None) -> None:
        self.client = Client(settings, storage)
        self.settings = self.client.settings
        self.redis: redis.asyncio.Redis = connect_async(self.settings, _CONNECTIONS)
        self.waiters = Waiters(self.redis, self.settings)
        self._place = self.redis.register_script(source_of("place"))
        self._prospect = self.redis.register_script(source_of("prospect"))
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="client")

    async def submit(self, prompt: str, **fields: Any) -> AsyncJob:
        """Submit one job. Fields and errors as in `Client.submit`."""
        job = await self.run(lambda: self.client.submit(prompt, **fields))
        return AsyncJob(job.id, self)

    async def submit_many(self, requests: Iterable[Mapping[str, Any]]) -> list[AsyncJob]:
        """Submit many jobs. Requests and errors as in `Client.submit_many`."""
        return [AsyncJob(job.id, self) for job in await self.run(lambda: self.client.submit_many(requests))]

    def job(self, job_id: str) -> AsyncJob:
        """The handle of a job submitted earlier, by anybody."""
        return AsyncJob(job_id, self)

    async def status(self, job_id: str) -> JobRecord:
        """
        Where a job stands.

        Raises:
            JobNotFound, RecordUnreadable, RedisUnavailable
        """
        with map_errors(self.settings):
            fields = cast("dict[str, str]", await self.redis.hgetall(names.job_key(job_id)))
        if "status" not in fields:
            raise JobNotFound(job_id)
        return JobRecord.from_hash(job_id, fields)

    async def entered(self, submission: Submission, job_id: str) -> JobRecord:
        """The record of a job that was just written, as `Client.entered` gives it."""
        try:
            return await self.status(job_id)
        except RedisUnavailable:
            if job_id != submission.job_id:
                raise
            return as_written(submission)

    async def place(self, job_id: str) -> Place | None:
        """
        Where a queued job stands and when its turn comes, about; None for one that is not queued.

        Raises:
            RedisUnavailable
        """
        with map_errors(self.settings):
            return place_of(await self._place(args=[job_id]))

    async def prospect(self, spec: JobSpec) -> Place | None:
        """
        Where a job would stand, about, if it were submitted now.

        Raises:
            RedisUnavailable
        """
        asked: list[str | int] = [names.queue_of(spec.model), spec.caller, PRIORITY_RANK[spec.priority]]
        asked.append(self.settings.release_window)
        with map_errors(self.settings):
            return place_of(await self._prospect(args=asked))

    async def list_jobs(
        self,
        caller: str | None = None,
        status: Status | None = None,
        model: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> tuple[list[JobRecord], str | None]:
        """A page of jobs, the last to be submitted first. Arguments and errors as in `JobTable.list_jobs`."""
        return await self.run(lambda: self.client.list_jobs(caller, status, model, limit, cursor))

    async def wait(self, job_id: str, timeout_s: float | None = None) -> JobRecord:
        """
        Wait for a job's end, however it ends. A Redis that goes away meanwhile is waited for.

        Raises:
            JobNotFound: There is no such job.
            WaitTimeout: It did not end in time; it goes on.
        """
        record = await self.status(job_id)
        try:
            async with asyncio.timeout(timeout_s):
                while not record.has_ended:
                    await self.waiters.wait_for_end(job_id)
                    record = await self.status(job_id)
                    if self.waiters.is_closed:
                        break
        except TimeoutError as exc:
            raise WaitTimeout(job_id, timeout_s or 0) from exc
        if not record.has_ended:
            raise WaitTimeout(job_id, timeout_s or 0)
        return record

    async def events(self, job_id: str, after: str = "0") -> AsyncIterator[Event]:
        """
        A job's events behind `after`, as they come, up to "completed".

        Raises:
            JobNotFound: There is no such job.
            InvalidRequest: `after` is no event id.
        """
        check_event_id(after, "after")
        await self.status(job_id)
        async for event in self.waiters.follow(job_id, after):
            yield event

    async def has_events(self, job_id: str, after: str) -> bool:
        """
        Whether a job's stream has an event behind `after`, the id of an event.

        Raises:
            RedisUnavailable
        """
        with map_errors(self.settings):
            return bool(await self.redis.xrange(names.events_key(job_id), min=f"({after}", count=1))

    async def cancel(self, job_id: str) -> JobRecord:
        """Ask for a job's end; one that has ended stays as it is. Raises `JobNotFound`."""
        return await self.run(lambda: self.client.cancel(job_id))

    def images(self, record: JobRecord) -> list[Image]:
        """The images of a finished job. Raises `JobFailed` where it ended without."""
        return self.client.images(record)

    async def queues(self) -> list[QueueCounts]:
        """How many jobs each queue holds."""
        return await self.run(self.client.queues)

    async def workers(self) -> list[WorkerReport]:
        """Which workers there are, and what they do."""
        return await self.run(self.client.workers)

    async def run(self, call: Callable[[], Result]) -> Result:
        """Run a call of the client in one of its threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def aclose(self) -> None:
        """Let everybody go who waits, and close the connections."""
        await self.waiters.aclose()
        await self.redis.aclose()
        await asyncio.to_thread(self._threads.shutdown)
        self.client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class AsyncJob:
    """A submitted job. Every method asks Redis anew."""

    def __init__(self, job_id: str, client: AsyncClient) -> None:
        self.id = job_id
        self._client = client

    async def status(self) -> JobRecord:
        """Where it stands. Raises `JobNotFound`."""
        return await self._client.status(self.id)

    async def wait(self, timeout_s: float | None = None) -> JobRecord:
        """The record at its end, however it ended. Raises `WaitTimeout`."""
        return await self._client.wait(self.id, timeout_s)

    def events(self, after: str = "0") -> AsyncIterator[Event]:
        """Its events as they come, up to its end."""
        return self._client.events(self.id, after)

    async def cancel(self) -> JobRecord:
        """Ask for its end; returns where it stands now."""
        return await self._client.cancel(self.id)

    async def images(self, timeout_s: float | None = None) -> list[Image]:
        """
        Wait for the job's end and return its images; reading one from storage blocks, as `Image` says.

        Raises:
            JobFailed: It ended without images.
            WaitTimeout: It did not end in time.
        """
        return self._client.images(await self.wait(timeout_s))

    def __repr__(self) -> str:
        return f"AsyncJob({self.id!r})"
