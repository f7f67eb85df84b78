"""`POST /v1/images/generations`: ask for images and wait for them, as OpenAI's clients do."""

from __future__ import annotations

from fastapi import Request, Response

from jobs.fields import parse
from producer.api.context import CurrentContext
from producer.api.http.openapi import Router
from producer.api.jobs.submissions import IdempotencyKey, read_fields
from producer.api.keys.callers import CurrentCaller
from producer.api.openai import schemas
from producer.api.openai.errors import OpenAIRoute
from producer.api.openai.pictures import Incoming, answer, fields_of, queue
from producer.api.openai.request import AzureVersion, ImagesRequest

router = Router(prefix="/v1", tags=["OpenAI"], route_class=OpenAIRoute)


@router.post(
    "/images/generations",
    summary="Create images (OpenAI's API)",
    responses=schemas.pictures(ImagesRequest),
    openapi_extra={"requestBody": schemas.GENERATIONS_BODY},
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
    incoming = Incoming(request=request, caller=caller, context=context, idempotency_key=idempotency_key)
    requested = parse(ImagesRequest, await read_fields(request, context))
    return await answer(requested, await queue(requested, fields_of(requested, incoming), incoming), incoming)
