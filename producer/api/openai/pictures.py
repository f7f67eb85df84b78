"""The way of a request for pictures, whichever it asks for: its job is prepared, queued, waited for, and answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request, Response

from jobs.errors import InvalidRequest, NoEffect
from jobs.table.submission import Submission
from jobs.view import JobView
from producer.api.context import Context
from producer.api.http.errors import json_response
from producer.api.jobs.submissions import enter, find_inputs, prepare
from producer.api.keys.callers import Caller
from producer.api.openai.answers import described, encoded
from producer.api.openai.disconnects import cancel_soon, wait_while_connected
from producer.api.openai.request import PicturesRequest
from producer.api.openai.stream import ImageStream
from producer.client.image import images_of
from producer.client.loop_turns import aside, working_in

Made = TypeVar("Made")

_CLIENT_LEFT = 499  # Nobody reads it; the log has it.


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """
    An incoming request, its caller, and what answers it.

    Attributes:
        idempotency_key: From the request's header. The job of one goes on where its client leaves.
    """

    request: Request
    caller: Caller
    context: Context
    idempotency_key: str | None


def fields_of(requested: PicturesRequest, incoming: Incoming) -> dict[str, Any]:
    """
    The fields of the job that is asked for, but for its inputs.

    Raises:
        InvalidRequest, ModelNotAvailable, ModelNotAllowed
    """
    if requested.model is not None:
        incoming.caller.check_model(requested.model)  # As `prepare` does, before it is looked for.
    return requested.job_fields(incoming.context.parts.catalogue.find(requested.model))


@dataclass(frozen=True, slots=True)
class Queued:
    """
    A job that is to be answered with its pictures.

    Attributes:
        job_id: Its id.
        notes: What the client learns of fields that no model here heeds, or that were left out.
    """

    job_id: str
    notes: Sequence[str]


def heeded(
    requested: PicturesRequest, fields: Mapping[str, Any], made_of: Callable[[Mapping[str, Any]], Made]
) -> tuple[Made, list[str]]:
    """
    What is made of a job's fields, where the client wants that without those that its model would not heed.

    Args:
        made_of: Raises `NoEffect` for the first of them.

    Returns:
        It, and a sentence for each field that was left out.

    Raises:
        InvalidRequest: By the field's name in the request.
    """
    left, notes = dict(fields), list[str]()
    while True:
        try:
            return made_of(left), notes
        except InvalidRequest as exc:
            if not isinstance(exc, NoEffect) or requested.on_unused != "warn" or exc.field not in left:
                raise requested.renamed(exc) from exc
            del left[exc.field]
            notes.append(f"{str(exc).partition(';')[0]}; it was left out")


async def queue(requested: PicturesRequest, fields: Mapping[str, Any], incoming: Incoming) -> Queued:
    """
    Queue a job.

    Args:
        fields: Its own; inputs may be named or found.

    Raises:
        InvalidRequest: By the field's name in the request.
        Whatever `enter` raises
    """
    submission, notes = await _prepare(requested, fields, incoming)
    job_id = await enter(submission, incoming.context, incoming.request)
    return Queued(job_id, [*requested.unheeded, *notes])


async def answer(requested: PicturesRequest, queued: Queued, incoming: Incoming) -> Response:
    """
    Answer with a job's pictures when it has ended. The body must have been read.

    Raises:
        JobFailed, JobNotFound, RedisUnavailable, and the store's errors
    """
    request, context, job_id, notes = incoming.request, incoming.context, queued.job_id, queued.notes
    is_kept = incoming.idempotency_key is not None
    if requested.stream:
        return ImageStream(requested, context, job_id, notes, is_kept=is_kept)
    record = await _wait(request, context, job_id, is_kept=is_kept)
    if record is None:
        return Response(status_code=_CLIENT_LEFT)
    content = await _content(requested, record, request, context)
    return json_response({**content, "warnings": [*notes, *record.warnings]})


async def _prepare(
    requested: PicturesRequest, fields: Mapping[str, Any], incoming: Incoming
) -> tuple[Submission, list[str]]:
    caller, context = incoming.caller, incoming.context
    traceparent = incoming.request.headers.get("traceparent")
    try:
        found = await find_inputs(fields, caller, context)
    except InvalidRequest as exc:
        raise requested.renamed(exc) from exc
    return heeded(requested, found, lambda left: prepare(left, caller, context, incoming.idempotency_key, traceparent))


async def _wait(request: Request, context: Context, job_id: str, *, is_kept: bool) -> JobView | None:
    record = None
    try:
        record = await wait_while_connected(request, context, job_id)
    finally:
        if record is None and not is_kept:
            cancel_soon(context, job_id)
    return record


async def _content(requested: PicturesRequest, record: JobView, request: Request, context: Context) -> dict[str, Any]:
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
