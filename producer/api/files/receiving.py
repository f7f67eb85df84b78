"""How the body of an upload becomes a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import Field

from jobs.errors import FileTooLarge, InvalidRequest
from jobs.fields import Strict, parse
from jobs.inputs.files import File
from producer.api.context import Context
from producer.api.forms import SentForm
from producer.api.http.errors import BodyTooLarge
from producer.api.keys.callers import Caller
from producer.files.intake import FIELD, Purpose

_FIELD_BYTES = 1_024  # Of one that is no file.
_EXPIRES = re.compile(r"expires_after\[(anchor|seconds)\]")  # As OpenAI's clients write it into a form.


class ExpiresAfter(Strict):
    """When a file expires."""

    anchor: Literal["created_at"]
    """What `seconds` counts from."""
    seconds: Annotated[int, Field(ge=3_600, le=2_592_000)]
    """Seconds until it expires."""


class UploadFields(Strict):
    """The fields of an upload beside its file."""

    purpose: Purpose
    """What the file is for; it is stored and shown. Every file must be a picture: PNG, JPEG or WebP."""
    expires_after: ExpiresAfter | None = None
    """When the file expires; later if a job needs it then."""


async def receive(request: Request, caller: Caller, context: Context) -> File:
    """
    Take in the file that a request sends. Where anything is wrong, nothing of it stays.

    Raises:
        InvalidRequest: A field is wrong, or the file is no picture that can be taken.
        FileTooLarge, FilesTooLarge
        BodyTooSlow, BodyMalformed, BodyOfOtherType
        StorageUnavailable, StorageMisconfigured, RedisUnavailable, RedisFull
    """
    async with SentForm(context, {FIELD: FIELD}, max_text_bytes=_FIELD_BYTES) as form:
        try:
            await form.read(request)
        except BodyTooLarge as exc:
            raise FileTooLarge(FIELD, context.settings.max_upload_bytes) from exc
        if FIELD not in form.files:
            raise InvalidRequest(FIELD, "is missing")
        fields = parse(UploadFields, _fields_of(form.texts))
        after_s = fields.expires_after.seconds if fields.expires_after else context.parts.settings.file_retention_s
        return await form.files[FIELD][0].keep(caller, purpose=fields.purpose, expires_after_s=after_s)


def _fields_of(sent: Mapping[str, str]) -> dict[str, Any]:
    """Those beside the file, as JSON would have them."""
    texts = dict(sent)
    if "expires_after" in texts:
        raise InvalidRequest("expires_after", "is sent as expires_after[anchor] and expires_after[seconds]")
    expires_after: dict[str, str | int] = {}
    for name in [each for each in texts if _EXPIRES.fullmatch(each)]:
        text, part = texts.pop(name), name[len("expires_after[") : -1]
        is_number = part == "seconds" and text.isascii() and text.isdecimal() and len(text) < 10
        expires_after[part] = int(text) if is_number else text
    return {**texts, **({"expires_after": expires_after} if expires_after else {})}
