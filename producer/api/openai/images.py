"""`POST /v1/images/generations`: ask for images and wait for them, as OpenAI's clients do."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request, Response

from jobs.errors import InvalidRequest
from jobs.fields import parse
from jobs.table.submission import Submission
from jobs.view import JobView
from producer.api.context import Context, CurrentContext
from producer.api.http.errors import json_response
from producer.api.http.openapi import Router
from producer.api.jobs.submissions import IdempotencyKey, enter, prepare, read_fields
from producer.api.keys.callers import Caller, CurrentCaller
from producer.api.openai import schemas
from producer.api.openai.answers import described, encoded
from producer.api.openai.attendance import cancel_soon, wait_while_connected
from producer.api.openai.errors import OpenAIRoute
from producer.api.openai.request import AzureVersion, ImagesRequest, renamed
from producer.api.openai.stream import ImageStream
from producer.client.image import images_of
from producer.client.loop_turns import aside, working_in

router = Router(prefix="/v1", tags=["OpenAI"], route_class=OpenAIRoute)

_CLIENT_LEFT = 499  # Nobody reads it; the log has it.


@router.post(
    "/images/generations",
    summary="Make images, as OpenAI's API does",
    responses=schemas.RESPONSES,
    openapi_extra={"requestBody": schemas.REQUEST_BODY},
)
async def generate(
    request: Request,
    caller: CurrentCaller,
    context: CurrentContext,
    idempotency_key: IdempotencyKey = None,
    api_version: AzureVersion = None,
) -> Response:
    """
    Queue a job, wait for its end, and answer with its images. The header `X-Request-Id` has the job's id. A client that
    leaves before has its job canceled, unless it sent an `Idempotency-Key`: then the job goes on, and asking again with
    the same key gives it.
    """
    asked = parse(ImagesRequest, await read_fields(request, context))
    traceparent = request.headers.get("traceparent")
    job_id = await enter(_prepare(asked, caller, context, idempotency_key, traceparent), context, request)
    is_kept = idempotency_key is not None
    if asked.stream:
        return ImageStream(asked, context, job_id, is_kept=is_kept)
    record = await _wait(request, context, job_id, is_kept=is_kept)
    if record is None:
        return Response(status_code=_CLIENT_LEFT)
    return json_response(await _answer(asked, record, request, context))


def _prepare(
    asked: ImagesRequest, caller: Caller, context: Context, idempotency_key: str | None, traceparent: str | None
) -> Submission:
    fields = asked.job_fields(context.parts.catalogue.find(asked.model))
    try:
        return prepare(fields, caller, context, idempotency_key, traceparent)
    except InvalidRequest as exc:
        raise renamed(exc) from exc


async def _wait(request: Request, context: Context, job_id: str, *, is_kept: bool) -> JobView | None:
    record = None
    try:
        record = await wait_while_connected(request, context, job_id)
    finally:
        if record is None and not is_kept:
            cancel_soon(context, job_id)
    return record


async def _answer(asked: ImagesRequest, record: JobView, request: Request, context: Context) -> dict[str, Any]:
    images = images_of(record, context.parts.store)
    shown: list[dict[str, Any]] = [{"seed": each.record.seed} for each in images]
    if asked.sends_links:
        for image, link in zip(shown, context.views.job(record, request)["images"], strict=True):
            image["url"] = link["url"]
    if asked.sends_files:
        with working_in(None):  # They share the turn of this request, which is given up until all of them are read.
            reading = asyncio.gather(*(encoded(each, context.loop) for each in images))
        for image, file in zip(shown, await aside(reading), strict=True):
            image["b64_json"] = file
    return {"created": int(record.ended_at or record.created_at), **described(asked, images[0]), "data": shown}
