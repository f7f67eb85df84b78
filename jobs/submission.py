"""What goes into the job table when a job is submitted, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.errors import IdempotencyConflict, QuotaExceeded
from jobs.spec import JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """
    One job to be written.

    Attributes:
        digest: Of the request's parameters; tells a repeated submission from another one with the same key.
        origin: "client", or "celery" for a job that came as a plain Celery message.
        quota: How many queued jobs its caller may have, in all queues, this one included; None for any number.
    """

    job_id: str
    spec: JobSpec
    digest: str
    queue: str
    origin: str = "client"
    quota: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """
    What a submission came to.

    Attributes:
        job_id: The first job's, where the idempotency key was used before.
        released: Ids that were released in turn.
        conflict: Where the key belongs to a job with other parameters; nothing was written then.
        over_quota: Where the caller has as many queued jobs as it may; nothing was written then.
    """

    job_id: str
    released: list[str]
    conflict: IdempotencyConflict | None = None
    over_quota: QuotaExceeded | None = None
