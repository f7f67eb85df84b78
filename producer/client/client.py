"""The Python client: submit jobs and ask for them, straight over Redis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from jobs.envelope import Priority
from jobs.fleet.fleet import WorkerReport
from jobs.process.settings import Settings
from jobs.table.events import Event
from jobs.table.states import Status
from jobs.table.table import QueueCounts
from jobs.view import JobView, view_of
from producer.client.image import Image, images_of
from producer.client.job import Job
from producer.client.parts import open_parts
from storage.settings import StorageSettings


class Client:
    """
    Submits jobs and asks for them. One client serves a whole process and all its threads.

    Attributes:
        parts: Its parts, for callers who need more: operating queues, batches, the store.

    Example:
        >>> job = Client().submit("a large red circle on a blue background", seed=7)
        >>> job.images()[0].save("circle.png")
    """

    def __init__(self, settings: Settings | None = None, storage: StorageSettings | None = None) -> None:
        self.parts = open_parts(settings, storage)

    def submit(self, prompt: str | None = None, **fields: Any) -> Job:
        """
        Submit one job; `fields` are those of its kind's request in `jobs.kinds`. Its `kind` is `generate` where they do
        not say; one that has no prompt is submitted without.

        Raises:
            InvalidRequest: A field is wrong; nothing was queued.
            IdempotencyConflict: The idempotency key belongs to a job with other parameters.
            RedisFull: Nothing was queued.
            RedisUnavailable: Nothing is known to be queued. With an idempotency key, submitting again is safe.
        """
        return self.job(self.parts.submitter.submit(fields if prompt is None else {"prompt": prompt, **fields}))

    def submit_many(self, requests: Iterable[Mapping[str, Any]]) -> list[Job]:
        """
        Submit many jobs, a few hundred per round trip.

        All are checked before the first is queued; raises as `submit` does, with a note that names the request by its
        index.

        Raises:
            PartlySubmitted: Redis was full or went away when some were queued; its `queued` has their ids.
            IdempotencyConflict: When all others have been queued; its `queued` has their ids.
        """
        return [self.job(job_id) for job_id in self.parts.submitter.submit_many(requests)]

    def job(self, job_id: str) -> Job:
        """The handle of a job submitted earlier, by anybody."""
        return Job(job_id, self.parts)

    def status(self, job_id: str) -> JobView:
        """`Job.status`, by the job's id."""
        return self.job(job_id).status()

    def wait(self, job_id: str, timeout_s: float | None = None) -> JobView:
        """`Job.wait`, by the job's id."""
        return self.job(job_id).wait(timeout_s)

    def events(self, job_id: str, after: str = "0") -> Iterator[Event]:
        """`Job.events`, by the job's id."""
        return self.job(job_id).events(after)

    def cancel(self, job_id: str) -> JobView:
        """`Job.cancel`, by the job's id."""
        return self.job(job_id).cancel()

    def delete_result(self, job_id: str) -> JobView:
        """`Job.delete_result`, by the job's id."""
        return self.job(job_id).delete_result()

    def reprioritize(
        self, job_id: str, priority: Priority | None = None, position: Literal["front"] | None = None
    ) -> JobView:
        """`Job.reprioritize`, by the job's id."""
        return self.job(job_id).reprioritize(priority, position)

    def images(self, record: JobView) -> list[Image]:
        """The images of a finished job. Raises as `Job.images` does."""
        return images_of(record, self.parts.store)

    def queues(self) -> list[QueueCounts]:
        """How many jobs each queue holds: waiting in the table, released to Celery, running."""
        return self.parts.table.queues()

    def list_jobs(
        self,
        caller: str | None = None,
        status: Status | None = None,
        model: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> tuple[list[JobView], str | None]:
        """A page of jobs, the last to be submitted first, and the cursor of the next: see `JobTable.list_jobs`."""
        records, behind = self.parts.table.list_jobs(caller, status, model, limit, cursor)
        return [view_of(each) for each in records], behind

    def workers(self) -> list[WorkerReport]:
        """Which workers there are, and what they do."""
        return self.parts.fleet.workers()

    def close(self) -> None:
        """Close the connections to Redis; the next call opens new ones."""
        self.parts.close()
