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
from producer.api.openai.disconnects import cancel_soon, wait_while_connected
from producer.api.openai.errors import OpenAIRoute
from producer.api.openai.request import AzureVersion, ImagesRequest, renamed
from producer.api.openai.stream import ImageStream
from producer.client.image import images_of
from producer.client.loop_turns import aside, working_in

router = Router(prefix="/v1", tags=["OpenAI"], route_class=OpenAIRoute)

_CLIENT_LEFT = 499  # Nobody reads it; the log has it.


@router.post(
    "/images/generations",
    summary="Create images (OpenAI's API)",
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
    Queue a job, wait until it ends, and answer with its images. The header `X-Request-Id` has the job's id. If the
    client disconnects earlier, the job is canceled, unless an `Idempotency-Key` was sent: then the job continues, and
    a repeated request with the same key gets it.
    """
    requested = parse(ImagesRequest, await read_fields(request, context))
    traceparent = request.headers.get("traceparent")
    job_id = await enter(_prepare(requested, caller, context, idempotency_key, traceparent), context, request)
    is_kept = idempotency_key is not None
    if requested.stream:
        return ImageStream(requested, context, job_id, is_kept=is_kept)
    record = await _wait(request, context, job_id, is_kept=is_kept)
    if record is None:
        return Response(status_code=_CLIENT_LEFT)
    return json_response(await _answer(requested, record, request, context))


def _prepare(
    requested: ImagesRequest, caller: Caller, context: Context, idempotency_key: str | None, traceparent: str | None
) -> Submission:
    if requested.model is not None:
        caller.check_model(requested.model)  # As `prepare` does, before it is looked for.
    fields = requested.job_fields(context.parts.catalogue.find(requested.model))
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


async def _answer(requested: ImagesRequest, record: JobView, request: Request, context: Context) -> dict[str, Any]:
    images = images_of(record, context.parts.store)
    shown: list[dict[str, Any]] = [{"seed": each.record.seed} for each in images]
    if requested.sends_links:
        for image, link in zip(shown, context.views.job(record, request)["images"], strict=True):
            image["url"] = link["url"]
    if requested.sends_files:
        with working_in(None):  # They share the turn of this request, which is given up until all of them are read.
            reading = asyncio.gather(*(encoded(each, context.loop) for each in images))
        for image, file in zip(shown, await aside(reading), strict=True):
            image["b64_json"] = file
    return {"created": int(record.ended_at or record.created_at), **described(requested, images[0]), "data": shown}
