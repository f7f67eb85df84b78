"""The Celery task: a message means only "look at this job"; the job table decides whether to run it."""

from __future__ import annotations

import time
from typing import Any

import structlog
from celery import Celery, Task
from celery.exceptions import Ignore
from structlog.contextvars import bound_contextvars

from jobs import names
from jobs.errors import ErrorCode, Fenced, JobFailed, RedisUnavailable
from jobs.table.claim import Claim
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.view import spec_to_run
from workers.attempt.attempt import Attempt
from workers.attempt.context import Context
from workers.attempt.errors import Draining
from workers.attempt.trace import AttemptTrace
from workers.delivery.consumer import RunRequest
from workers.engine.errors import EngineDied
from workers.runners.registry import RUNNERS

log = structlog.get_logger()


def register_tasks(app: Celery, context: Context) -> None:
    """Give the app its task. The name is the wire; nothing depends on a Python path."""

    @app.task(name=names.RUN_TASK, bind=True, throws=(JobFailed,), ignore_result=True, Request=RunRequest)
    def run(task: Task[..., Any], /, *_args: Any, **_kwargs: Any) -> str:
        with bound_contextvars(job_id=str(task.request.id)):
            return _summary(_run(task, context))


def _run(task: Task[..., Any], context: Context) -> JobRecord:
    job_id, began_s = str(task.request.id), time.time()
    claim, released = _claim(task, context)
    context.pass_on(released)
    if claim is None:  # Returning would show SUCCESS in Flower for work that another did.
        raise Ignore
    context.announcer.note_start(claim, _name_of(task))
    try:
        record = _attempt(claim, context, AttemptTrace(context.traces, claim, began_s))
    except (Fenced, EngineDied, Draining) as exc:
        raise Ignore from exc
    except RedisUnavailable as exc:
        log.warning("end of the job not written: it will run again", reason=str(exc))
        raise Ignore from exc
    context.metrics.note_end(record, getattr(claim.spec, "model", ""))
    log.info("job ended", job_id=job_id, status=str(record.status), **record.timings)
    return _succeeded(task, record)


def _claim(task: Task[..., Any], context: Context) -> tuple[Claim | None, list[str]]:
    """Where Redis is away, the table sends another message of the job later."""
    try:
        return context.table.claim(str(task.request.id), owner=_name_of(task), gives_way=True, read=spec_to_run)
    except RedisUnavailable as exc:
        log.warning("job not claimed: it waits in the job table", reason=str(exc))
        raise Ignore from exc


def _name_of(task: Task[..., Any]) -> str:
    return str(task.request.hostname)


def _attempt(claim: Claim, context: Context, trace: AttemptTrace) -> JobRecord:
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
    record = context.table.finish(claim, Status.FAILED, error=error)
    context.announcer.note_end(claim.notifications)
    return record


def _succeeded(task: Task[..., Any], record: JobRecord) -> JobRecord:
    """Let Celery and Flower see how the job ended: a failed one raises, a canceled or expired one shows as revoked."""
    if record.status is Status.SUCCEEDED:
        return record
    if record.error is not None and record.status is Status.FAILED:
        raise JobFailed(record.id, record.error.code, record.error.message)
    task.send_event("task-revoked", terminated=True, signum=None, expired=record.status is Status.EXPIRED)
    raise Ignore


def _summary(record: JobRecord) -> str:
    """What Flower shows as the result."""
    made = f"{len(record.artifacts)} object{'' if len(record.artifacts) == 1 else 's'}"
    return f"{made} in {record.timings.get('total', 0):.2f} s"
