"""Makes a job of a plain Celery message: its keyword arguments are the request, its task id is the job's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog

from jobs import names
from jobs.errors import ErrorCode, IdempotencyConflict, InvalidRequest, JobFailed
from jobs.spec import parse_request
from jobs.submission import Submission, Submitted
from workers.context import Context

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A message as it came; `queue` is the one that it came through."""

    job_id: str
    queue: str
    args: tuple[Any, ...]
    fields: dict[str, Any]


def adopt(sent: Request, context: Context) -> bool:
    """
    Write the job. What is wrong with the request becomes a failed job, for its sender to find.

    Returns:
        Whether it can be claimed here and now; a job for another model's queue has been sent there.

    Raises:
        JobFailed: The request was wrong.
    """
    if not names.is_job_id(sent.job_id):
        raise JobFailed(sent.job_id, ErrorCode.INVALID_REQUEST, "id: use letters, digits, '.', '_' and '-'")
    try:
        submission = _read(sent, context)
        submitted = _submit(submission, context)
    except InvalidRequest as exc:
        context.table.reject(sent.job_id, request={"args": sent.args, **sent.fields}, queue=sent.queue, error=exc)
        log.warning("job refused", job_id=sent.job_id, code=str(exc.code))  # Why may repeat what it was.
        raise JobFailed(sent.job_id, exc.code, str(exc)) from exc
    is_here = submission.queue == sent.queue
    # This job's message is in hand, if it came through the right queue.
    context.pass_on([each for each in submitted.released if not (is_here and each == sent.job_id)])
    return is_here


def _read(sent: Request, context: Context) -> Submission:
    if sent.args:
        raise InvalidRequest("args", "the request goes into keyword arguments: kwargs={'prompt': …}")
    request = parse_request({"model": names.model_of(sent.queue), **sent.fields})
    spec = context.catalogue.settle(request)
    queue = names.queue_of(spec.model)
    return Submission(job_id=sent.job_id, spec=spec, digest=request.digest(), queue=queue, origin="celery")


def _submit(submission: Submission, context: Context) -> Submitted:
    try:
        submitted = context.table.submit(submission)
    except IdempotencyConflict as exc:
        raise InvalidRequest("idempotency_key", str(exc)) from exc
    if submitted.job_id != submission.job_id:
        raise InvalidRequest("idempotency_key", f"was used for job {submitted.job_id}; ask for that one")
    return submitted
