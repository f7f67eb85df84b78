"""What goes into the job table when a job is submitted, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.errors import BatchCanceled, IdempotencyConflict, QuotaExceeded
from jobs.spec import JobSpec

Refused = IdempotencyConflict | QuotaExceeded | BatchCanceled


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLine:
    """
    A job's place in a batch.

    Attributes:
        line: From 1, by which the batch's jobs are ordered.
        custom_id: The caller's own name for it.
    """

    batch_id: str
    line: int
    custom_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """
    One job to be written.

    Attributes:
        digest: Of the request's parameters; tells a repeated submission from another one with the same key.
        origin: "client", or "celery" for a job that came as a plain Celery message.
        quota: How many queued jobs its caller may have, in all queues, this one included; None for any number.
        batch: Where it is part of one.
    """

    job_id: str
    spec: JobSpec
    digest: str
    queue: str
    origin: str = "client"
    quota: int | None = None
    batch: BatchLine | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """
    What a submission came to.

    Attributes:
        job_id: The first job's, where the idempotency key was used before.
        released: Ids that were released in turn.
        refused: Why nothing was written: the key belongs to a job with other parameters, the caller has as many queued
            jobs as it may, or the batch was canceled.
        is_replayed: The idempotency key was used before, with the same parameters.
    """

    job_id: str
    released: list[str]
    refused: Refused | None = None
    is_replayed: bool = False
