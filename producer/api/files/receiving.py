"""How the body of an upload becomes a file: its fields are collected, and its bytes go to the store as they come."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import Field

from jobs.errors import FileTooLarge, InvalidRequest
from jobs.fields import Strict, parse
from jobs.inputs.files import File
from producer.api.context import Context
from producer.api.http.errors import BodyTooLarge
from producer.api.http.forms import AROUND_BYTES, Part, read_form
from producer.api.keys.callers import Caller
from producer.client.loop_turns import working_in
from producer.files.intake import FIELD, PIECE_BYTES, Intake, Purpose

_FIELD_BYTES = 1_024  # Of one that is no file.
_FIELD_CHARS = 100  # Of its name, in an error.
_EXPIRES = re.compile(r"expires_after\[(anchor|seconds)\]")  # As OpenAI's clients write it into a form.

_aborting: set[asyncio.Task[None]] = set()  # A task that nobody holds may be collected before it has run.


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
    parts = context.parts
    intake = Intake(parts.files, parts.inputs, max_bytes=context.settings.max_upload_bytes)
    try:
        form = _Form(intake, context)
        await form.read(request)
        fields = parse(UploadFields, form.fields())
        after_s = fields.expires_after.seconds if fields.expires_after else parts.settings.file_retention_s
        return await context.loop.write(
            lambda: intake.finish(
                caller.name,
                filename=form.filename,
                purpose=fields.purpose,
                expires_after_s=after_s,
                max_mib=caller.max_file_mib,
            )
        )
    except BaseException:
        await asyncio.shield(_abort(intake, context))
        raise


def _abort(intake: Intake, context: Context) -> asyncio.Task[None]:
    """In a task of its own: the calling one may be canceled, and is perhaps again before this has ended."""
    with working_in(None):
        task = asyncio.create_task(context.loop.write(intake.abort))
    _aborting.add(task)
    task.add_done_callback(_aborting.discard)
    return task


class _Form:
    """What has come of one upload."""

    def __init__(self, intake: Intake, context: Context) -> None:
        self.filename = ""
        self._intake, self._context = intake, context
        self._texts: dict[str, bytearray] = {}
        self._names: set[str] = set()
        self._piece = bytearray()

    async def read(self, request: Request) -> None:
        """Read all of it. Raises as `receive` does."""
        settings = self._context.settings
        most, timeout_s = settings.max_upload_bytes + AROUND_BYTES, settings.body_timeout_s
        name = ""
        try:
            async with aclosing(read_form(request, max_bytes=most, timeout_s=timeout_s)) as form:
                async for each in form:
                    if isinstance(each, Part):
                        name = self._begin(each)
                    elif name == FIELD:
                        await self._take(each)
                    else:
                        self._add(name, each)
        except BodyTooLarge as exc:
            raise FileTooLarge(FIELD, settings.max_upload_bytes) from exc
        if FIELD not in self._names:
            raise InvalidRequest(FIELD, "is missing")
        await self._send()

    def fields(self) -> dict[str, Any]:
        """Those beside the file, as JSON would have them."""
        texts = {name: raw.decode(errors="replace") for name, raw in self._texts.items()}
        if "expires_after" in texts:
            raise InvalidRequest("expires_after", "is sent as expires_after[anchor] and expires_after[seconds]")
        expires_after: dict[str, str | int] = {}
        for name in [each for each in texts if _EXPIRES.fullmatch(each)]:
            text, part = texts.pop(name), name[len("expires_after[") : -1]
            is_number = part == "seconds" and text.isascii() and text.isdecimal() and len(text) < 10
            expires_after[part] = int(text) if is_number else text
        return {**texts, **({"expires_after": expires_after} if expires_after else {})}

    def _begin(self, part: Part) -> str:
        if part.name in self._names:
            raise InvalidRequest(part.name[:_FIELD_CHARS], "is given more than once")
        self._names.add(part.name)
        if part.name == FIELD:
            self.filename = part.filename or FIELD
        elif part.filename is not None:
            raise InvalidRequest(part.name[:_FIELD_CHARS], f"must be no file: the file is sent as {FIELD!r}")
        else:
            self._texts[part.name] = bytearray()
        return part.name

    def _add(self, name: str, piece: bytes) -> None:
        text = self._texts[name]
        text += piece
        if len(text) > _FIELD_BYTES:
            raise InvalidRequest(name[:_FIELD_CHARS], f"may have at most {_FIELD_BYTES} bytes")

    async def _take(self, piece: bytes) -> None:
        self._piece += piece
        if len(self._piece) >= PIECE_BYTES:
            await self._send()

    async def _send(self) -> None:
        """To the store; until it is there, no more is read of the request."""
        piece = bytes(self._piece)
        self._piece.clear()
        if piece:
            await self._context.loop.write(lambda: self._intake.write(piece))
