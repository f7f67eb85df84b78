"""`POST /v1/images/edits`: have a picture edited and wait for it, as OpenAI's clients do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from fastapi import Request, Response

from jobs.errors import ImagemillError, InvalidRequest
from jobs.fields import MAX_PROMPT_CHARS, parse
from jobs.inputs.holding import KEPT_S, SENT, input_of
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
from producer.api.openai.edit_request import MOST_PICTURES, EditsBody, EditsRequest, pictures_of, read_texts
from producer.api.openai.errors import OpenAIRoute
from producer.api.openai.pictures import Incoming, Queued, answer, fields_of, heeded, queue
from producer.api.openai.request import AzureVersion
from storage.errors import StorageError

router = Router(prefix="/v1", tags=["OpenAI"], route_class=OpenAIRoute)

_IMAGE, _MASK = "image", "mask"
_PARTS = {"image": _IMAGE, "image[]": _IMAGE, "mask": _MASK}
_TEXT_BYTES = 4 * MAX_PROMPT_CHARS  # Every character of four bytes.

Sent = TypeVar("Sent")


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
    its mask are sent in a form, or named in JSON; of several pictures the first is edited, and models that take several
    look at the others. What is sent is kept for the job, and goes with its result.
    """
    incoming = Incoming(request=request, caller=caller, context=context, idempotency_key=idempotency_key)
    check_type(request, FORM_TYPE, JSON_TYPE)
    if type_of(request) == JSON_TYPE:
        body = parse(EditsBody, await read_fields(request, context))
        return await answer(body, await queue(body, fields_of(body, incoming), incoming), incoming)
    if caller.key is None:
        refuse_other_pages(request, context.settings.cors_origins)
    with request.state.open_request.uploading():
        requested, queued = await _receive(incoming)
    return await answer(requested, queued, incoming)


async def _receive(incoming: Incoming) -> tuple[EditsRequest, Queued]:
    """
    Take in a form: what is asked for, and its job, which is queued. Otherwise nothing of it stays.

    Raises:
        InvalidRequest, and what `SentForm.read`, `keep_all` and `queue` do
        ModelNotAvailable, ModelNotAllowed
    """
    most = {_IMAGE: MOST_PICTURES}
    async with SentForm(incoming.context, _PARTS, max_text_bytes=_TEXT_BYTES, several=most) as form:
        await form.read(incoming.request)
        if _IMAGE not in form.files:
            raise InvalidRequest(_IMAGE, "is missing")
        requested = read_texts(form.texts)
        fields = fields_of(requested, incoming)
        catalogue = incoming.context.parts.catalogue
        # With what is not kept yet, which would count.
        sent = {**fields, **_inputs(form.files, _read)}
        heeded(requested, sent, lambda left: settle(parse_request(left), catalogue))
        kept = await form.keep_all(incoming.caller, purpose=SENT, expires_after_s=KEPT_S)
        try:
            return requested, await queue(requested, {**fields, **_inputs(kept, input_of)}, incoming)
        except (ImagemillError, StorageError):
            await form.take_back()
            raise


def _inputs(sent: Mapping[str, Sequence[Sent]], read: Callable[[Sent], Input]) -> dict[str, Any]:
    mask = sent.get(_MASK)
    return pictures_of([read(each) for each in sent[_IMAGE]], read(mask[0]) if mask else None)


def _read(file: SentFile) -> Input:
    head = file.intake.head
    assert head is not None  # noqa: S101 - the form has come to its end
    return Input(file=file.intake.id, bytes=file.intake.size_bytes, width=head.width, height=head.height)
