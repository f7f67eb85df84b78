"""What goes into the job table when a job is submitted, and what comes back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from jobs import names
from jobs.errors import BatchCanceled, IdempotencyConflict, QuotaExceeded, RedisFull
from jobs.kinds.spec import JobSpec
from jobs.table.record import JobRecord
from jobs.table.states import Status

Refused = IdempotencyConflict | QuotaExceeded | BatchCanceled | RedisFull

# Ranks are Celery's priorities on Redis, where 0 is the highest.
PRIORITY_RANK = {"high": 0, "normal": 3, "low": 6}

# A submission as `submit.lua` takes it. Text alone: a hundred thousand of these that wait for their turn are nothing to
# Python's garbage collector, and as many specifications take it longer than their submission.
Encoded = tuple[str, ...]
_CALLER, _KEY, _QUOTA, _BATCH = 4, 6, 12, 13


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
        traceparent: The W3C trace context that its spans are part of.
    """

    job_id: str
    spec: JobSpec
    digest: str
    queue: str
    origin: str = "client"
    quota: int | None = None
    batch: BatchLine | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """
    What a submission came to.

    Attributes:
        job_id: The first job's, where the idempotency key was used before.
        released: Ids that were released in turn.
        refused: Why nothing was written: the key belongs to a job with other parameters, the caller has as many queued
            jobs as it may, the batch was canceled, or Redis has no room.
        is_replayed: The idempotency key was used before, with the same parameters.
    """

    job_id: str
    released: list[str]
    refused: Refused | None = None
    is_replayed: bool = False


def as_written(submission: Submission) -> JobRecord:
    """The record of a job that has just been written, for whoever cannot ask Redis for it any more."""
    return JobRecord(
        id=submission.job_id,
        status=Status.QUEUED,
        queue=submission.queue,
        caller=submission.spec.caller,
        spec=submission.spec,
        created_at=time.time(),
        batch=submission.batch.batch_id if submission.batch else None,
        custom_id=submission.batch.custom_id if submission.batch else None,
    )


def encode(submission: Submission, window: int) -> Encoded:
    """The arguments of `submit.lua`; `window` is how many of a caller's jobs are released at a time."""
    spec, batch = submission.spec, submission.batch
    return (
        submission.job_id,
        # What is at its default is left out, so that a worker of the version before understands what uses nothing new.
        spec.model_dump_json(exclude_defaults=True),
        str(names.SCHEMA_VERSION),
        submission.queue,
        spec.caller,
        str(PRIORITY_RANK[spec.priority]),
        spec.idempotency_key or "",
        submission.digest,
        "" if spec.start_deadline is None else str(spec.start_deadline),
        "" if spec.deadline is None else str(spec.deadline),
        str(window),
        submission.origin,
        "" if submission.quota is None else str(submission.quota),
        *(("", "", "") if batch is None else (batch.batch_id, str(batch.line), batch.custom_id or "")),
        *((submission.traceparent,) if submission.traceparent else ()),
    )


def read_answer(reply: list[Any] | RedisFull, encoded: Encoded) -> Submitted:
    """What `submit.lua` answers, or Redis in its place."""
    if isinstance(reply, RedisFull):
        return Submitted(job_id=encoded[0], released=[], refused=reply)
    outcome, job_id, released = reply
    refused: Refused | None = None
    match outcome:
        case "conflict":
            refused = IdempotencyConflict(encoded[_KEY], job_id)
        case "over_quota":
            refused = QuotaExceeded(encoded[_CALLER], int(encoded[_QUOTA]))
        case "batch_canceled":
            refused = BatchCanceled(encoded[_BATCH])
    return Submitted(job_id=job_id, released=list(released), refused=refused, is_replayed=outcome == "replayed")
