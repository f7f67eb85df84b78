"""The Python client, and the handle of a job: submit and follow jobs, straight over Redis."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jobs import names
from jobs.broker.app import make_app
from jobs.broker.dispatch import Dispatcher
from jobs.broker.reconcile import Reconciler
from jobs.catalogue.models import Catalogue
from jobs.errors import (
    InvalidRequest,
    JobFailed,
    RedisUnavailable,
    WaitTimeout,
)
from jobs.kinds.spec import parse_request
from jobs.process.settings import Settings, load_settings
from jobs.redis.connection import connect
from jobs.table import events
from jobs.table.batches import Batches
from jobs.table.fleet import Fleet, WorkerReport
from jobs.table.queues import QueueControl
from jobs.table.rates import Place
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.table.submission import Encoded, Submission, Submitted, as_written
from jobs.table.table import JobTable, QueueCounts
from producer.client.image import Image
from producer.client.many import submit_all
from producer.client.traces import SubmitTraces
from storage.s3 import ImageStore
from storage.settings import StorageSettings, load_storage_settings

_AGAIN_S = 0.5  # between looks at a Redis that is away


class Client:
    """
    Submits jobs and asks for them. One client serves a whole process and all its threads.

    Attributes:
        control: What an operator does with whole queues, and with the dead.
        batches: Many jobs that are counted and canceled as one.

    Example:
        >>> job = Client().submit("a large red circle on a blue background", seed=7)
        >>> job.images()[0].save("circle.png")
    """

    def __init__(self, settings: Settings | None = None, storage: StorageSettings | None = None) -> None:
        self.settings = settings or load_settings()
        self.catalogue = Catalogue.read(self.settings.models_file)
        self._redis = connect(self.settings)
        self._table = JobTable(self._redis, self.settings)
        self._app = make_app(self.settings)
        self._dispatcher = Dispatcher(self._app, self._table, self.settings)
        self.store = ImageStore(storage or load_storage_settings())
        self.control = QueueControl(self._redis, self._table, self._dispatcher.offer, self.settings)
        self.batches = Batches(self._redis, self._table, self._dispatcher.offer, self.settings)
        self._fleet = Fleet(self._redis, self.settings)
        self._traces = SubmitTraces(self.settings)

    def submit(self, prompt: str, **fields: Any) -> Job:
        """
        Submit one job; `fields` are those of `jobs.kinds.spec.JobRequest`.

        Raises:
            InvalidRequest: A field is wrong; nothing was queued.
            IdempotencyConflict: The idempotency key belongs to a job with other parameters.
            RedisFull: Nothing was queued.
            RedisUnavailable: Nothing is known to be queued. With an idempotency key, submitting again is safe.
        """
        return self._submit([self._table.encode(self.prepare({"prompt": prompt, **fields}))])[0]

    def submit_many(self, requests: Iterable[Mapping[str, Any]]) -> list[Job]:
        """
        Submit many jobs, a few hundred per round trip.

        All are checked before the first is queued; raises as `submit` does, with a note that names the request by its
        index.

        Raises:
            PartlySubmitted: Redis was full or went away when some were queued; its `queued` has their ids.
            IdempotencyConflict: When all others have been queued; its `queued` has their ids.
        """
        submissions: list[Encoded] = []
        for index, request in enumerate(requests):
            try:
                submissions.append(self._table.encode(self.prepare(request)))
            except InvalidRequest as exc:
                exc.add_note(f"in request {index}")
                raise
        return self._submit(submissions)

    def _submit(self, submissions: list[Encoded]) -> list[Job]:
        return [Job(job_id, self) for job_id in submit_all(submissions, self._table, self._dispatcher, self._traces)]

    def prepare(
        self, fields: Mapping[str, Any], quota: int | None = None, traceparent: str | None = None
    ) -> Submission:
        """
        Check a request and settle its parameters, without asking Redis.

        Args:
            fields: Those of `jobs.kinds.spec.JobRequest`.
            quota: How many queued jobs its caller may have, this one included.
            traceparent: W3C trace context that the job is to be part of; ignored where it is malformed.

        Raises:
            InvalidRequest: A field is wrong.
        """
        request = parse_request(dict(fields))
        spec = self.catalogue.settle(request)
        queue = names.queue_of(spec.model)
        job_id = str(uuid.uuid4())
        submission = Submission(job_id=job_id, spec=spec, digest=request.digest(), queue=queue, quota=quota)
        return self._traces.begin(submission, traceparent)

    def enter(self, submission: Submission) -> str:
        """
        Write a prepared job, and send what is released. A message that cannot be sent is the reconciler's to send.

        Returns:
            The job's id: the first job's, where the idempotency key was used before.

        Raises:
            IdempotencyConflict, QuotaExceeded, RedisFull, RedisUnavailable: As `JobTable.submit` does.
        """
        submitted = self.enter_many([submission])[0]
        if submitted.refused:
            raise submitted.refused
        return submitted.job_id

    def entered(self, submission: Submission, job_id: str) -> JobRecord:
        """
        The record of a job that `enter` has just written: as it was written, where Redis cannot be asked for it now.

        Raises:
            RedisUnavailable: It is the record of an earlier job with the same idempotency key.
        """
        try:
            return self.status(job_id)
        except RedisUnavailable:
            if job_id != submission.job_id:
                raise
            return as_written(submission)

    def enter_many(self, submissions: Sequence[Submission]) -> list[Submitted]:
        """
        The same for many, in one round trip. Why one is refused stands in the answer, beside its neighbours'.

        Raises:
            RedisFull, RedisUnavailable: As `JobTable.submit_many` does.
        """
        submitted = self._table.submit_many(submissions)
        self._traces.end([each.job_id for each in submissions], submitted)
        self._dispatcher.offer([job_id for each in submitted for job_id in each.released])
        return submitted

    def job(self, job_id: str) -> Job:
        """The handle of a job submitted earlier, by anybody."""
        return Job(job_id, self)

    def status(self, job_id: str) -> JobRecord:
        """Where a job stands. Raises `JobNotFound`."""
        return self._table.get(job_id)

    def statuses(self, job_ids: Sequence[str]) -> list[Status | str | None]:
        """Where many jobs stand, in one round trip; None for one that there is not (any more)."""
        return self._table.statuses(job_ids)

    def records(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """The records of those jobs that are there, in one round trip."""
        return self._table.get_many(job_ids)

    def wait(self, job_id: str, timeout_s: float | None = None) -> JobRecord:
        """
        Wait for a job's end, however it ends. A Redis that goes away meanwhile is waited for.

        Raises:
            JobNotFound: There is no such job.
            RedisUnavailable: It does not answer when the waiting begins.
            WaitTimeout: It did not end in time; it goes on.
        """
        started = time.monotonic()
        record = self.status(job_id)
        while not record.has_ended:
            left_s = None if timeout_s is None else timeout_s - (time.monotonic() - started)
            if left_s is not None and left_s <= 0:
                raise WaitTimeout(job_id, timeout_s or 0)
            try:
                for _ in events.follow(self._redis, self.settings, job_id, timeout_s=left_s):
                    pass
                record = self.status(job_id)
            except RedisUnavailable:
                time.sleep(_AGAIN_S if left_s is None else min(_AGAIN_S, left_s))
        return record

    def events(self, job_id: str, after: str = "0") -> Iterator[events.Event]:
        """
        A job's events behind `after`, as they come, up to "completed".

        Raises:
            JobNotFound: There is no such job.
            InvalidRequest: `after` is no event id.
        """
        events.check_event_id(after, "after")
        self.status(job_id)
        return events.follow(self._redis, self.settings, job_id, after=after)

    def cancel(self, job_id: str) -> JobRecord:
        """
        Ask for a job's end; one that has ended stays as it is.

        Raises:
            JobNotFound: There is no such job.
            RedisUnavailable: It is not known whether it was asked for; asking again is safe.
        """
        record, released = self._table.cancel_and_show(job_id)
        self._dispatcher.offer(released)
        return record

    def images(self, record: JobRecord) -> list[Image]:
        """The images of a finished job. Raises `JobFailed` where it ended without."""
        if record.status is not Status.SUCCEEDED:
            error = record.error
            raise JobFailed(record.id, error.code if error else record.status, error.message if error else "no images")
        return [Image(image, self.store) for image in record.images]

    def queues(self) -> list[QueueCounts]:
        """How many jobs each queue holds: waiting in the table, released to Celery, running."""
        return self._table.queues()

    def list_jobs(
        self,
        caller: str | None = None,
        status: Status | None = None,
        model: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> tuple[list[JobRecord], str | None]:
        """A page of jobs, the last to be submitted first, and the cursor of the next: see `JobTable.list_jobs`."""
        return self._table.list_jobs(caller, status, model, limit, cursor)

    def place(self, job_id: str) -> Place | None:
        """Where a queued job stands and when its turn comes, about; None for one that is not queued."""
        return self._table.place(job_id)

    def workers(self) -> list[WorkerReport]:
        """Which workers there are, and what they do."""
        return self._fleet.workers()

    def reconciler(self) -> Reconciler:
        """This process' part in putting right what was interrupted; whoever runs for long runs it in a thread."""
        return Reconciler(self._redis, self._dispatcher, self.settings)

    def close(self) -> None:
        """Close the connections to Redis; the next call opens new ones."""
        self._redis.close()
        self._app.close()
        self._traces.close()


class Job:
    """A submitted job. Every method asks Redis anew."""

    __slots__ = ("_client", "id")

    def __init__(self, job_id: str, client: Client) -> None:
        self.id = job_id
        self._client = client

    def status(self) -> JobRecord:
        """Where it stands. Raises `JobNotFound`."""
        return self._client.status(self.id)

    def wait(self, timeout_s: float | None = None) -> JobRecord:
        """The record at its end, however it ended. Raises `WaitTimeout`."""
        return self._client.wait(self.id, timeout_s)

    def events(self, after: str = "0") -> Iterator[events.Event]:
        """Its events as they come, up to its end."""
        return self._client.events(self.id, after)

    def cancel(self) -> JobRecord:
        """Ask for its end; returns where it stands now."""
        return self._client.cancel(self.id)

    def images(self, timeout_s: float | None = None) -> list[Image]:
        """
        Wait for the job's end and return its images.

        Raises:
            JobFailed: It ended without images.
            WaitTimeout: It did not end in time.
        """
        return self._client.images(self.wait(timeout_s))

    def __repr__(self) -> str:
        return f"Job({self.id!r})"
