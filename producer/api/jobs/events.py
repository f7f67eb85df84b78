"""A job's events over HTTP, as server-sent events that any replica resumes (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, get_args

import orjson
from fastapi import Depends, Header, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic.json_schema import SkipJsonSchema

from jobs.errors import JobNotFound, RecordUnreadable, RedisUnavailable
from jobs.table.events import EVENT_ID, Event, EventType, check_event_id, progress_in
from jobs.table.states import Status
from jobs.view import JobView, progress_of, view_of
from producer.api.context import Context, CurrentContext
from producer.api.http.openapi import Router
from producer.api.http.schemas import REFUSALS, sent_events
from producer.api.jobs.routes import OwnJob
from producer.api.jobs.schemas import NOT_FOUND
from producer.api.keys.admission import REFUSED

router = Router(prefix="/v1", tags=["jobs"], responses=REFUSALS)

_HEADER = "Last-Event-ID"
_PING_S = 15.0  # Proxies close connections on which nothing comes.


async def _resume_point(
    record: OwnJob,
    context: CurrentContext,
    last_event_id: Annotated[
        str | SkipJsonSchema[None],
        Header(
            description="Continue after this event; browsers send it when they reconnect.",
            json_schema_extra={"pattern": f"{EVENT_ID}|^$"},
        ),
    ] = None,
) -> str | None:
    """The event after which to continue; None if the client already has the job's last one."""
    if not last_event_id:
        return "0"
    after = check_event_id(last_event_id, _HEADER)
    if record.has_ended and not await context.loop.reader.has_events(record.id, after):
        return None
    return after


@router.get(
    "/jobs/{job_id}/events",
    summary="Stream a job's events",
    response_class=Response,
    responses={
        200: sent_events(
            "What happened to the job, and as the last event `completed`, which has the job; or `refused`, which has "
            "the error, where the key is revoked meanwhile.",
            *get_args(EventType),
            REFUSED,
        ),
        204: {
            "description": "The job has ended, and the client already has its last event. Browsers stop reconnecting."
        },
        **NOT_FOUND,
    },
)
async def events(
    request: Request, record: OwnJob, after: Annotated[str | None, Depends(_resume_point)], context: CurrentContext
) -> Response:
    """
    The events of a job as they happen, until it ends. A stream that ends without `completed` was interrupted: continue
    with the header `Last-Event-ID`; no event is lost or repeated.
    """
    if after is None:
        return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would keep events back
    stream = _stream(request, record, after, context)
    return StreamingResponse(stream, headers=headers, media_type="text/event-stream")


async def _stream(request: Request, record: JobView, after: str, context: Context) -> AsyncIterator[bytes]:
    # FastAPI's own streams log an error when a client leaves while an event is on its way (0.165).
    async with context.loop.followed_jobs.following(record.id):
        async for event in context.loop.waiters.follow_with_pauses(record.id, after, quiet_s=_PING_S):
            if event is None:
                yield KEEPALIVE_COMMENT
                continue
            try:
                content = orjson.dumps(await _content_of(event, record, request, context)).decode()
            except (JobNotFound, RecordUnreadable, RedisUnavailable):
                return  # Cut; the client comes back and asks for the same event.
            yield format_sse_event(id=event.id, event=event.type, data_str=content)


async def _content_of(event: Event, record: JobView, request: Request, context: Context) -> dict[str, Any]:
    content = {"job_id": record.id, **_data_of(event, record.kind)}
    if event.type == "completed":
        content["job"] = context.views.job(view_of(await context.loop.reader.get(record.id)), request)
    return content


def _data_of(event: Event, kind: str) -> dict[str, Any]:
    """The data of an event; for progress, with the share of the work that is done."""
    if event.type != "progress":
        return event.data
    stage, step, steps = progress_in(event)
    return {**event.data, "progress": progress_of(kind, Status.PROCESSING, stage, step, steps)}
