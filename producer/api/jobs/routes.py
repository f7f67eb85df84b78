"""Jobs over HTTP: submit one, ask for it, list them, end one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request, Response
from pydantic.json_schema import SkipJsonSchema

from jobs import names
from jobs.envelope import Change
from jobs.errors import JobNotFound, RecordUnreadable, RedisUnavailable, WaitTimeout
from jobs.fields import parse
from jobs.table.reader import CURSOR
from jobs.table.states import Status
from jobs.table.submission import Submission
from jobs.view import JobView, parameters_of, view_of
from producer.api.context import Context, CurrentContext
from producer.api.http.errors import json_response
from producer.api.http.openapi import Router
from producer.api.http.preferences import requested_wait_s
from producer.api.http.schemas import BODY_REFUSALS, REFUSALS, problem, text_header
from producer.api.jobs.schemas import (
    BODIES,
    CANCELED_AHEAD,
    NOT_FOUND,
    DryRunBody,
    JobBody,
    JobsBody,
    SubmittedBody,
    body_of_change,
    body_of_job,
)
from producer.api.jobs.submissions import IdempotencyKey, enter, find_inputs, prepare, read_fields
from producer.api.keys.callers import CurrentCaller
from producer.api.views import place_in_line
from producer.client.async_job import AsyncJob
from producer.client.submitter import Submitter

router = Router(prefix="/v1", tags=["jobs"], responses=REFUSALS, models=(*BODIES, Change))

_MOST_LISTED = 100
_SHOWN_AT_ONCE = 8  # In a step of the event loop.


async def found_job(job_id: str, context: Context) -> JobView:
    """A job of any caller. Raises `JobNotFound` or `RecordUnreadable`."""
    if not names.is_job_id(job_id):
        raise JobNotFound(job_id[:128])
    return view_of(await context.loop.reader.get(job_id))


async def own_job(job_id: str, caller: CurrentCaller, context: CurrentContext) -> JobView:
    """
    The job of a path.

    Raises:
        JobNotFound: There is none, or it is another caller's.
        RecordUnreadable: It is this caller's, and its record is none that this version can read.
    """
    try:
        return caller.own(await found_job(job_id, context))
    except RecordUnreadable as exc:
        if caller.scope not in (None, exc.caller):
            raise JobNotFound(job_id) from exc
        raise


OwnJob = Annotated[JobView, Depends(own_job)]


@router.post(
    "/jobs",
    status_code=202,
    summary="Submit a job",
    responses={
        200: {
            "model": SubmittedBody | DryRunBody,
            "description": "With `Prefer: wait=N`: the job has ended. With `dry_run`: what would be queued.",
        },
        202: {
            "model": SubmittedBody,
            "description": "The job is queued.",
            "headers": {"Location": text_header("The job.")},
        },
        **BODY_REFUSALS,
    },
    openapi_extra={"requestBody": body_of_job()},
)
async def submit(
    request: Request,
    caller: CurrentCaller,
    context: CurrentContext,
    dry_run: Annotated[
        bool, Query(description="Check the request and show what would be queued; queue nothing.")
    ] = False,
    idempotency_key: IdempotencyKey = None,
    prefer: Annotated[  # For the document: here would be the first alone of several.
        str | SkipJsonSchema[None],
        Header(description="`wait=N`: wait up to N seconds until the job ends.", examples=["wait=30"]),
    ] = None,
) -> Response:
    """Queue a job. The answer has its URLs; with `Prefer: wait=N` it has the images, if the job ends in time."""
    fields, traceparent = await read_fields(request, context), request.headers.get("traceparent")
    found = await find_inputs(fields, caller, context)
    submission = prepare(found, caller, context, idempotency_key, traceparent)
    if dry_run:
        return json_response(await _dry_run(submission, context))
    job_id = await enter(submission, context, request)
    record, warnings = await context.loop.run(lambda: _entered(submission, job_id, context.parts.submitter))
    headers = {"Location": context.views.urls(job_id, request)["status_url"]}
    wait_s = min(requested_wait_s(request.headers.getlist("prefer")), context.settings.max_wait_s)
    if wait_s:
        headers["Preference-Applied"] = f"wait={wait_s}"
        record = await _wait(context, record, wait_s)
    is_waited_for = bool(wait_s) and record.has_ended
    shown = await _show(record, request, context)
    shown["warnings"] += warnings
    return json_response(shown, 200 if is_waited_for else 202, headers)


@router.get(
    "/jobs",
    summary="List jobs",
    responses={200: {"model": JobsBody}},
)
async def list_jobs(
    request: Request,
    caller: CurrentCaller,
    context: CurrentContext,
    status: Annotated[Status | SkipJsonSchema[None], Query(description="Only jobs with this status.")] = None,
    model: Annotated[str | SkipJsonSchema[None], Query(description="Only jobs of this model.", max_length=64)] = None,
    limit: Annotated[int, Query(description="Maximum number of jobs per page.", ge=1, le=_MOST_LISTED)] = 20,
    cursor: Annotated[
        str | SkipJsonSchema[None],
        Query(
            description="`next_cursor` of the previous page; leave it out for the first.",
            json_schema_extra={"pattern": CURSOR},
        ),
    ] = None,
) -> Response:
    """
    The caller's jobs, the newest first. A page may have fewer jobs than `limit`, or none, although more pages follow:
    `next_cursor` shows it.
    """
    table = context.parts.table
    records, next_cursor = await context.loop.run(lambda: table.list_jobs(caller.scope, status, model, limit, cursor))
    shown: list[dict[str, Any]] = []
    for record in records:
        shown.append(context.views.job(view_of(record), request))
        if len(shown) % _SHOWN_AT_ONCE == 0:
            await asyncio.sleep(0)  # Let others have their turn.
    return json_response({"object": "list", "data": shown, "next_cursor": next_cursor})


@router.get(
    "/jobs/{job_id}",
    summary="Get a job",
    responses={200: {"model": JobBody}, **NOT_FOUND},
)
async def ask(request: Request, record: OwnJob, context: CurrentContext) -> Response:
    """The state of a job; if it has succeeded, with new links to its images."""
    if not record.has_ended:
        await context.loop.reader.watch([record.id])
    return json_response(await _show(record, request, context))


@router.delete(
    "/jobs/{job_id}",
    summary="Cancel a job",
    responses={200: {"model": JobBody}, **CANCELED_AHEAD},
)
async def cancel(request: Request, job_id: str, caller: CurrentCaller, context: CurrentContext) -> Response:
    """
    Cancel a job. A queued job ends at once, a running one at its next step, and an ended one does not change. An
    unknown id may be that of a plain Celery message that no worker has received yet: if it comes within a day, it will
    not run. With an API key, this applies only to messages that name the key's caller.
    """
    if not names.is_job_id(job_id):
        raise JobNotFound(job_id[:128])
    canceled = await AsyncJob(job_id, context.loop).cancel(caller=caller.scope)
    return json_response(context.views.job(canceled, request))


@router.patch(
    "/jobs/{job_id}",
    summary="Change the position of a queued job",
    responses={
        200: {"model": JobBody},
        **NOT_FOUND,
        409: problem("The job has begun or ended."),
        **BODY_REFUSALS,
    },
    openapi_extra={"requestBody": body_of_change()},
)
async def change(request: Request, record: OwnJob, context: CurrentContext) -> Response:
    """Change the priority of a queued job, or move it before the caller's other jobs of the same priority."""
    said = parse(Change, await read_fields(request, context))
    changed = await AsyncJob(record.id, context.loop).reprioritize(said.priority, said.position)
    return json_response(await _show(changed, request, context))


async def _show(record: JobView, request: Request, context: Context) -> dict[str, Any]:
    place = None
    if record.status is Status.QUEUED:
        with suppress(RedisUnavailable):  # Not known is no failure of what was asked.
            place = await context.loop.reader.place(record.id)
    return context.views.job(record, request, place)


def _entered(submission: Submission, job_id: str, submitter: Submitter) -> tuple[JobView, list[str]]:
    return view_of(submitter.entered(submission, job_id)), _warnings(submission, submitter)


def _warnings(submission: Submission, submitter: Submitter) -> list[str]:
    warning = submitter.warning(submission)
    return [] if warning is None else [warning]


def _checked(submission: Submission, submitter: Submitter) -> list[str]:
    submitter.check_served(submission)
    return _warnings(submission, submitter)


async def _dry_run(submission: Submission, context: Context) -> dict[str, Any]:
    warnings = await context.loop.run(lambda: _checked(submission, context.parts.submitter))
    is_later = submission.spec.start_after is not None
    place = None if is_later else await context.loop.reader.prospect(submission)
    shown = {
        "object": "dry_run",
        "kind": submission.kind,
        "model": submission.model,
        "queue": submission.queue,
        **place_in_line(place),
    }
    return {**shown, "parameters": parameters_of(submission.spec), "warnings": warnings}


async def _wait(context: Context, record: JobView, wait_s: int) -> JobView:
    try:
        with suppress(WaitTimeout):
            return await AsyncJob(record.id, context.loop).wait(wait_s)
        return view_of(await context.loop.reader.get(record.id))
    except RedisUnavailable:  # The job is written: as it was then.
        return record
