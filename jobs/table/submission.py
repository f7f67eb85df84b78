"""What goes into the job table when a job is submitted, and what comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs import names
from jobs.envelope import Envelope
from jobs.errors import (
    BatchCanceled,
    FilesTooLarge,
    IdempotencyConflict,
    InvalidRequest,
    NotServed,
    QuotaExceeded,
    RedisFull,
    TooMuchKept,
)
from jobs.scripts.scripts import arguments
from jobs.table.record import JobRecord
from jobs.table.states import Status

Refused = IdempotencyConflict | QuotaExceeded | BatchCanceled | RedisFull | NotServed | InvalidRequest | FilesTooLarge

# A job's id, and the arguments of `submit.lua`. Text alone, in no more than a tuple: a hundred thousand of these that
# wait for their turn are nothing to Python's garbage collector, and as many specifications take it longer than their
# submission.
Encoded = tuple[str, bytes]

_LEAST_COST = 1e-6
_KEPT_CHARS, _KEPT_ITEMS, _KEPT_LEVELS = 500, 50, 16  # of a refused request


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
        model: Name in the catalogue, of a kind that needs one.
        spec: What is to be run, of which the table reads no more than what every job has.
        digest: Of the request's parameters; distinguishes a repeated submission from another one with the same key.
        origin: "client", or "celery" for a job that came as a plain Celery message.
        quota: How many queued jobs its caller may have, in all queues, this one included; None: as the settings say.
        max_kept_mib: What its caller's jobs may take of Redis, ended ones too; None: as the settings say.
        cost: What a turn of it costs: what it takes of the device, where its model's usual job takes 1.
        weight: How much of the device its caller gets, where others get 1.
        batch: Where it is part of one.
        traceparent: The W3C trace context that its spans are part of.
        files: Ids of uploaded files that it needs: noted for it before, they are free again where it is not written.
        notifications: Of its end: by protocol, what that has to know.
        tag: Of the message from outside of which it is made, which is done with when it is written.
    """

    job_id: str
    kind: str = names.FIRST_KIND
    model: str | None = None
    spec: Envelope
    digest: str
    queue: str
    origin: str = "client"
    quota: int | None = None
    max_kept_mib: int | None = None
    cost: float = 1.0
    weight: float = 1.0
    batch: BatchLine | None = None
    traceparent: str | None = None
    files: tuple[str, ...] = ()
    notifications: Mapping[str, Any] = field(default_factory=dict)
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """
    What a submission came to.

    Attributes:
        job_id: The first job's, where the idempotency key was used before.
        released: Ids that were released in turn.
        refused: Why nothing was written: the key belongs to a job with other parameters, the caller has as many queued
            jobs as it may, or they take as much of Redis as they may, the batch was canceled, Redis has no room, no
            worker would run it, or what it names or brings cannot be kept.
        is_replayed: The idempotency key was used before, with the same parameters.
    """

    job_id: str
    released: list[str]
    refused: Refused | None = None
    is_replayed: bool = False


def as_written(submission: Submission) -> JobRecord:
    """The record of a job that has just been written, for a caller that can no longer read it from Redis."""
    now, start_after = time.time(), submission.spec.start_after
    return JobRecord(
        id=submission.job_id,
        status=Status.QUEUED,
        queue=submission.queue,
        caller=submission.spec.caller,
        kind=submission.kind,
        payload=submission.spec.model_dump(mode="json", exclude_defaults=True),
        created_at=now,
        not_before=None if start_after is None else now + start_after,
        batch=submission.batch.batch_id if submission.batch else None,
        custom_id=submission.batch.custom_id if submission.batch else None,
    )


def encode(
    submission: Submission,
    limits: Mapping[str, float],
    quota: int | None = None,
    max_kept_bytes: int | None = None,
) -> Encoded:
    """
    A submission as `submit.lua` takes it.

    Args:
        limits: Those of `jobs.scripts.limits`.
        quota, max_kept_bytes: Of callers of whom the submission says none.
    """
    spec, batch = submission.spec, submission.batch
    if submission.max_kept_mib is not None:
        max_kept_bytes = submission.max_kept_mib << 20
    args = arguments(
        job_id=submission.job_id,
        # What is at its default is left out, so that a worker of the version before understands what uses nothing new.
        spec=spec.model_dump_json(exclude_defaults=True),
        kind=None if submission.kind == names.FIRST_KIND else submission.kind,
        queue=submission.queue,
        caller=spec.caller,
        priority=spec.priority,
        idempotency_key=spec.idempotency_key or None,
        digest=submission.digest,
        start_deadline=spec.start_deadline,
        deadline=spec.deadline,
        start_after=spec.start_after,
        time_limit=spec.time_limit,
        origin=submission.origin,
        quota=submission.quota if submission.quota is not None else quota,
        max_kept=max_kept_bytes,
        cost=_paid(submission.cost / submission.weight),
        batch=batch.batch_id if batch else None,
        line=batch.line if batch else None,
        custom_id=(batch.custom_id or None) if batch else None,
        traceparent=submission.traceparent or None,
        notifications=notification_args(submission.notifications),
        tag=submission.tag,
        files=list(submission.files) or None,
        **limits,
    )
    return submission.job_id, args


def written_as(args: bytes) -> dict[str, str]:
    """What the record of a submission says that was written with these arguments, as far as its message needs it."""
    said = json.loads(args)
    found = {name: said[name] for name in ("queue", "caller", "kind", "spec") if name in said}
    return {**found, "status": Status.QUEUED, "created_at": str(time.time())}


def _paid(cost: float) -> str | None:
    """What a caller pays for the turn of a job, as scripts take it; None for 1, as of a version that does not say."""
    return None if cost == 1.0 else f"{max(cost, _LEAST_COST):.6g}"


def notification_args(notifications: Mapping[str, Any]) -> list[Mapping[str, str | int]] | None:
    """The notifications as scripts take them; None if there are none."""
    return [{"protocol": protocol, "wants": json.dumps(wants)} for protocol, wants in notifications.items()] or None


def wanted(fields: Mapping[str, str], protocol: str) -> Any:
    """What a protocol has to know of a job, as its record has it; nothing, where that cannot be read."""
    try:
        return json.loads(fields.get(f"tell:{protocol}", "{}"))
    except ValueError:
        return {}


def read_answer(reply: list[Any] | RedisFull, encoded: Encoded) -> Submitted:
    """What `submit.lua` answers, or Redis in its place."""
    if isinstance(reply, RedisFull):
        return Submitted(job_id=encoded[0], released=[], refused=reply)
    outcome, job_id, released = reply
    return Submitted(
        job_id=job_id,
        released=list(released),
        refused=None if outcome in ("created", "replayed") else _refusal(outcome, job_id, json.loads(encoded[1])),
        is_replayed=outcome == "replayed",
    )


def _refusal(outcome: str, job_id: str, args: dict[str, Any]) -> Refused:
    match outcome:
        case "conflict":
            return IdempotencyConflict(args["idempotency_key"], job_id)
        case "over_quota":
            return QuotaExceeded(args["caller"], args["quota"])
        case "over_kept":
            return TooMuchKept(args["caller"], args["max_kept"])
        case _:
            return BatchCanceled(args["batch"])


def shortened(value: Any, levels: int = _KEPT_LEVELS) -> Any:
    """A request with long texts and deep nesting cut: what was refused for its size need not be kept at that size."""
    match value:
        case dict() | list() | tuple() if not levels:
            return "…"
        case dict():
            kept = list(value.items())[:_KEPT_ITEMS]
            return {str(key)[:_KEPT_CHARS]: shortened(each, levels - 1) for key, each in kept}
        case list() | tuple():
            return [shortened(each, levels - 1) for each in value[:_KEPT_ITEMS]]
        case str():
            return value[:_KEPT_CHARS]
        case _:
            return value
