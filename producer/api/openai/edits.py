"""`POST /v1/images/edits`: have a picture edited and wait for it, as OpenAI's clients do."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from jobs.errors import InvalidRequest
from jobs.fields import MAX_PROMPT_CHARS, parse
from jobs.inputs.find import KEPT_S, SENT, input_of
from jobs.kinds.inputs import Input
from jobs.kinds.registry import parse_request, settle
from producer.api.context import CurrentContext
from producer.api.forms import SentFile, SentForm
from producer.api.http.bodies import JSON_TYPE, check_type, type_of
from producer.api.http.forms import FORM_TYPE
from producer.api.http.openapi import Router
from producer.api.http.pages import refuse_other_pages
from producer.api.jobs.submissions import IdempotencyKey, read_fields
from producer.api.keys.callers import CurrentCaller
from producer.api.openai import schemas
from producer.api.openai.edit_request import EditsBody, EditsRequest, check_count, read_texts
from producer.api.openai.errors import OpenAIRoute
from producer.api.openai.pictures import Asking, answer, fields_of, heeded
from producer.api.openai.request import AzureVersion

router = Router(prefix="/v1", tags=["OpenAI"], route_class=OpenAIRoute)

_IMAGE, _MASK = "image", "mask"
_PARTS = {"image": _IMAGE, "image[]": _IMAGE, "mask": _MASK}
_TEXT_BYTES = 4 * MAX_PROMPT_CHARS  # Every character of four bytes.


@router.post(
    "/images/edits",
    summary="Edit an image (OpenAI's API)",
    responses=schemas.pictures(EditsRequest),
    openapi_extra={"requestBody": schemas.EDITS_BODY},
)
async def edit(
    request: Request,
    caller: CurrentCaller,
    context: CurrentContext,
    idempotency_key: IdempotencyKey = None,
    api_version: AzureVersion = None,
) -> Response:
    """
    Queue a job that edits a picture, wait until it ends, and answer with its images, as generations do. The picture and
    its mask are sent in a form, or named in JSON. What is sent is kept for the job, and goes with its result.
    """
    asking = Asking(request=request, caller=caller, context=context, idempotency_key=idempotency_key)
    check_type(request, FORM_TYPE, JSON_TYPE)
    if type_of(request) == JSON_TYPE:
        body = parse(EditsBody, await read_fields(request, context))
        return await answer(body, fields_of(body, asking), asking)
    if caller.key is None:
        refuse_other_pages(request, context.settings.cors_origins)
    with request.state.open_request.uploading():
        requested, fields = await _receive(asking)
    return await answer(requested, fields, asking)


async def _receive(asking: Asking) -> tuple[EditsRequest, dict[str, Any]]:
    """
    Take in a form: what is asked for, and the fields of its job. Where anything is wrong, nothing of it stays.

    Raises:
        InvalidRequest, and what `SentForm.read` and `keep_all` do
        ModelNotAvailable, ModelNotAllowed
    """
    async with SentForm(asking.context, _PARTS, max_text_bytes=_TEXT_BYTES, several=[_IMAGE]) as form:
        await form.read(asking.request)
        if _IMAGE not in form.files:
            raise InvalidRequest(_IMAGE, "is missing")
        requested = read_texts(form.texts)
        fields = fields_of(requested, asking)
        catalogue = asking.context.parts.catalogue
        check_count(_IMAGE, form.counts[_IMAGE], catalogue.find(requested.model))
        # With what is not kept yet, so that a job which is refused leaves nothing.
        read = {name: _read(file) for name, file in form.files.items()}
        heeded(requested, {**fields, **read}, lambda left: settle(parse_request(left), catalogue))
        kept = await form.keep_all(asking.caller, purpose=SENT, expires_after_s=KEPT_S)
    return requested, {**fields, **{name: input_of(file) for name, file in kept.items()}}


def _read(file: SentFile) -> Input:
    head = file.intake.head
    assert head is not None  # noqa: S101 - the form has come to its end
    return Input(file=file.intake.id, bytes=file.intake.size_bytes, width=head.width, height=head.height)
