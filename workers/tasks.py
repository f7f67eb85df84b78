"""The Celery tasks: every message means only "look at this job"; the job table decides whether to run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog
from celery import Celery, Task
from celery.exceptions import Ignore

from jobs import names
from jobs.catalogue import Catalogue
from jobs.dispatch import Dispatcher
from jobs.errors import ErrorCode, Fenced, IdempotencyConflict, InvalidRequest, JobFailed, RedisUnavailable
from jobs.record import JobRecord
from jobs.spec import parse_request
from jobs.states import Status
from jobs.table import Claim, JobTable, Submission
from storage.s3 import ImageStore
from workers.attempt import Attempt
from workers.models import LoadedModel

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the tasks of one worker process share."""

    catalogue: Catalogue
    table: JobTable
    dispatcher: Dispatcher
    store: ImageStore
    models: dict[str, LoadedModel]


def register_tasks(app: Celery, context: Context) -> None:
    """Give the app the two tasks. Their names are the wire; nothing depends on a Python path."""

    @app.task(name=names.RUN_TASK, bind=True, throws=(JobFailed,), ignore_result=True)
    def run(task: Task[..., Any], *_args: Any, **_kwargs: Any) -> str:
        return _summary(_run(task, context))

    @app.task(name=names.GENERATE_TASK, bind=True, throws=(JobFailed,), typing=False)
    def generate(task: Task[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        _adopt(task, context, args, kwargs)
        return _run(task, context).model_dump(mode="json", exclude_none=True)


def _run(task: Task[..., Any], context: Context) -> JobRecord:
    job_id, owner = str(task.request.id), str(task.request.hostname)
    claim, released = context.table.claim(job_id, owner=owner)
    _pass_on(context, released)
    if claim is None:
        raise Ignore  # Returning would show SUCCESS in Flower for work that another did.
    try:
        record = _attempt(claim, context)
    except Fenced as exc:
        log.warning("job taken by another attempt", job_id=job_id)
        raise Ignore from exc
    log.info("job ended", job_id=job_id, status=str(record.status), **record.timings)
    return _succeeded(task, record)


def _pass_on(context: Context, released: list[str]) -> None:
    """Send the messages of jobs that were released in turn. A failure is not this job's: they stay released."""
    try:
        context.dispatcher.send(released)
    except RedisUnavailable as exc:
        log.warning("released jobs have no message yet", job_ids=released, reason=str(exc))


def _attempt(claim: Claim, context: Context) -> JobRecord:
    model = context.models.get(claim.spec.model)
    if model is None:
        reason = f"this worker does not serve {claim.spec.model!r}"
        error = {"code": ErrorCode.MODEL_NOT_AVAILABLE, "message": reason}
        return context.table.finish(claim, Status.FAILED, error=error)
    return Attempt(claim, model, context.table, context.store).run()


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
    images = f"{len(record.images)} image{'s' if len(record.images) > 1 else ''}"
    return f"{images} in {record.timings.get('total', 0):.2f} s"


def _adopt(task: Task[..., Any], context: Context, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
    """Make a job of a plain Celery message; its id is the task's. What is wrong becomes a failed job."""
    job_id, queue = str(task.request.id), _queue_of(task)
    if not names.is_job_id(job_id):
        raise JobFailed(job_id, ErrorCode.INVALID_REQUEST, "id: use letters, digits, '.', '_' and '-'")
    try:
        if args:
            raise InvalidRequest("args", "the request goes into keyword arguments: kwargs={'prompt': …}")
        request = parse_request({"model": names.model_of(queue), **fields})
        spec = context.catalogue.settle(request)
    except InvalidRequest as exc:
        raise _reject(context, job_id, queue, {"args": args, **fields}, exc) from exc
    submission = Submission(
        job_id=job_id, spec=spec, digest=request.digest(), queue=names.queue_of(spec.model), origin="celery"
    )
    try:
        submitted = context.table.submit(submission)
    except IdempotencyConflict as exc:
        raise _reject(context, job_id, queue, fields, InvalidRequest("idempotency_key", str(exc))) from exc
    if submitted.job_id != job_id:
        used = InvalidRequest("idempotency_key", f"was used for job {submitted.job_id}; ask for that one")
        raise _reject(context, job_id, queue, fields, used)
    # A message for another model's queue sends the job there; one for this queue is in hand already.
    in_hand = {job_id} if submission.queue == queue else set()
    _pass_on(context, [each for each in submitted.released if each not in in_hand])
    if submission.queue != queue:
        raise Ignore


def _reject(context: Context, job_id: str, queue: str, request: dict[str, Any], error: InvalidRequest) -> JobFailed:
    context.table.reject(job_id, request=request, queue=queue, error=error)
    return JobFailed(job_id, error.code, str(error))


def _queue_of(task: Task[..., Any]) -> str:
    return str((task.request.delivery_info or {}).get("routing_key", ""))
