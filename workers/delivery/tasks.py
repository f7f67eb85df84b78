"""The Celery tasks: every message means only "look at this job"; the job table decides whether to run it."""

from __future__ import annotations

import time
from typing import Any

import structlog
from celery import Celery, Task
from celery.exceptions import Ignore
from structlog.contextvars import bound_contextvars

from jobs import names
from jobs.errors import ErrorCode, Fenced, JobFailed, JobNotFound, RecordUnreadable, RedisUnavailable
from jobs.table.claim import Claim
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.view import spec_to_run, view_of
from workers.attempt.attempt import Attempt
from workers.attempt.context import Context
from workers.attempt.errors import Draining
from workers.attempt.trace import NoTrace, trace_of
from workers.delivery.adopt import Adopter, Request
from workers.delivery.deliveries import Deliveries
from workers.delivery.results import tell_revoked, tell_start
from workers.engine.errors import EngineDied
from workers.runners.registry import RUNNERS

log = structlog.get_logger()

_CLAIM_AGAIN_AFTER_S = 1.0


def register_tasks(app: Celery, context: Context, deliveries: Deliveries) -> None:
    """Give the app the two tasks. Their names are the wire; nothing depends on a Python path."""
    adopter = Adopter(context, deliveries)

    @app.task(name=names.RUN_TASK, bind=True, throws=(JobFailed,), ignore_result=True)
    def run(task: Task[..., Any], /, *_args: Any, **_kwargs: Any) -> str:
        with bound_contextvars(job_id=str(task.request.id)):
            return _summary(_run(task, context))

    @app.task(
        name=names.GENERATE_TASK,
        bind=True,
        throws=(JobFailed,),
        typing=False,
        track_started=False,  # `tell_start` does.
        acks_late=True,  # `adopt` does, as soon as may be.
        Request="workers.delivery.deliveries:DeliveredRequest",
    )
    def generate(task: Task[..., Any], /, *args: Any, **kwargs: Any) -> dict[str, Any]:
        sent = Request(job_id=str(task.request.id), queue=_queue_of(task), args=args, fields=kwargs)
        with bound_contextvars(job_id=sent.job_id):
            if not adopter.adopt(sent, task.request.get("delivery")):
                raise Ignore
            return view_of(_run(task, context)).model_dump(mode="json", exclude_none=True)


def _run(task: Task[..., Any], context: Context) -> JobRecord:
    job_id, began_s = str(task.request.id), time.time()
    claim, released = _claim(task, context)
    context.pass_on(released)
    if claim is None:
        return _ended_before(task, context)
    tell_start(task)
    try:
        record = _attempt(claim, context, trace_of(context.traces, claim, began_s))
    except (Fenced, EngineDied, Draining) as exc:
        raise Ignore from exc
    except RedisUnavailable as exc:
        log.warning("end of the job not written: it will run again", reason=str(exc))
        raise Ignore from exc
    context.metrics.note_end(record, getattr(claim.spec, "model", ""))
    log.info("job ended", job_id=job_id, status=str(record.status), **record.timings)
    return _succeeded(task, record)


def _claim(task: Task[..., Any], context: Context) -> tuple[Claim | None, list[str]]:
    """Where Redis is away, the table sends another message of the job later; but a sender is told by this one alone."""
    job_id, owner = str(task.request.id), str(task.request.hostname)
    gives_way = task.name == names.RUN_TASK  # Whoever sent the request itself waits for this very task.
    while True:
        try:
            return context.table.claim(job_id, owner=owner, gives_way=gives_way, read=spec_to_run)
        except RedisUnavailable as exc:
            log.warning("job not claimed: it waits in the job table", reason=str(exc))
            if task.ignore_result or context.draining.wait(_CLAIM_AGAIN_AFTER_S):
                raise Ignore from exc


def _ended_before(task: Task[..., Any], context: Context) -> JobRecord:
    """
    The end of a job that another message brought about, told to who waits for this one; all others learn of it there.

    Returning would show SUCCESS in Flower for work that another did.
    """
    if task.ignore_result:
        raise Ignore
    try:
        record = context.table.get(str(task.request.id))
    except (JobNotFound, RecordUnreadable, RedisUnavailable) as exc:
        raise Ignore from exc
    if not record.has_ended:
        raise Ignore
    return _succeeded(task, record)


def _attempt(claim: Claim, context: Context, trace: NoTrace) -> JobRecord:
    try:
        record = Attempt(claim, context, trace).run() if context.serves(claim) else _refuse(claim, context)
    except BaseException as exc:
        trace.end(exc)
        raise
    trace.end(record)
    return record


def _refuse(claim: Claim, context: Context) -> JobRecord:
    kind, model = claim.record.kind, getattr(claim.spec, "model", None)
    is_run = kind in RUNNERS
    reason = f"this worker does not serve {model!r}" if is_run else f"kind: this worker does not run {kind!r}"
    code = ErrorCode.MODEL_NOT_AVAILABLE if is_run else ErrorCode.INVALID_REQUEST
    error = {"code": code, "message": reason}
    return context.table.finish(claim, Status.FAILED, error=error)


def _succeeded(task: Task[..., Any], record: JobRecord) -> JobRecord:
    """Let Celery and Flower see how the job ended: a failed one raises, a canceled or expired one shows as revoked."""
    if record.status is Status.SUCCEEDED:
        return record
    if record.error is not None and record.status is Status.FAILED:
        raise JobFailed(record.id, record.error.code, record.error.message)
    task.send_event("task-revoked", terminated=True, signum=None, expired=record.status is Status.EXPIRED)
    tell_revoked(task, record)
    raise Ignore


def _summary(record: JobRecord) -> str:
    """What Flower shows as the result."""
    made = f"{len(record.artifacts)} object{'' if len(record.artifacts) == 1 else 's'}"
    return f"{made} in {record.timings.get('total', 0):.2f} s"


def _queue_of(task: Task[..., Any]) -> str:
    return str((task.request.delivery_info or {}).get("routing_key", ""))
