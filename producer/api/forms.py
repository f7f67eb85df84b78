"""Forms with files, as they come: fields are collected, and files go to the store, so that none is whole in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from types import MappingProxyType, TracebackType
from typing import Self

from fastapi import Request

from jobs.errors import FilesTooLarge, InvalidRequest
from jobs.inputs.files import File
from producer.api.context import Context
from producer.api.http.forms import AROUND_BYTES, Part, read_form
from producer.api.keys.callers import Caller
from producer.client.loop_turns import working_in
from producer.files.intake import PIECE_BYTES, Intake

_FIELD_CHARS = 100  # Of its name, in an error.

_aborting: set[asyncio.Task[None]] = set()  # A task that nobody holds may be collected before it has run.


class SentFile:
    """
    One file of a form. Its calls wait for the store, and raise as those of `Intake`.

    Attributes:
        is_kept: Whether it stays.
    """

    def __init__(self, field: str, filename: str | None, context: Context) -> None:
        parts = context.parts
        self.intake = Intake(parts.files, parts.inputs, max_bytes=context.settings.max_upload_bytes, field=field)
        self.is_kept = False
        self._filename = filename or field
        self._context = context
        self._piece = bytearray()

    async def take(self, piece: bytes) -> None:
        """The next bytes."""
        self._piece += piece
        if len(self._piece) >= PIECE_BYTES:
            await self._send()

    async def end(self) -> None:
        """There are no more."""
        await self._send()
        await self._context.loop.write(self.intake.end)

    async def keep(self, caller: Caller, *, purpose: str, expires_after_s: float) -> File:
        """As `Intake.finish`."""
        kept = await self._context.loop.write(
            lambda: self.intake.finish(
                caller.name,
                filename=self._filename,
                purpose=purpose,
                expires_after_s=expires_after_s,
                max_mib=caller.max_file_mib,
            )
        )
        self.is_kept = True
        return kept

    async def _send(self) -> None:
        """To the store; until it is there, no more is read of the request."""
        piece = bytes(self._piece)
        self._piece.clear()
        if piece:
            await self._context.loop.write(lambda: self.intake.write(piece))


class SentForm:
    """
    What has come of one form. As the context of a block, nothing stays of the files that were not kept in it.

    Attributes:
        texts: Fields that are no files, as they were sent, by name.
        files: By field, in the order in which they came.
    """

    def __init__(
        self,
        context: Context,
        names: Mapping[str, str],
        *,
        max_text_bytes: int,
        several: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """
        Args:
            names: Fields that are files, by what their parts may be called.
            max_text_bytes: Of a field that is none.
            several: Of which fields there may be several files, and how many; of others there is one.
        """
        self.texts: dict[str, str] = {}
        self.files: dict[str, list[SentFile]] = {}
        self._context, self._names, self._several = context, names, several
        self._max_text_bytes = max_text_bytes
        self._name = ""  # Of the part that is being read.
        self._text: bytearray | None = None
        self._file: SentFile | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        lost = [each for each in self._all() if not each.is_kept]
        if not lost:
            return
        # In a task of its own: this one may be canceled, and is perhaps again before it has ended.
        with working_in(None):
            task = asyncio.create_task(_abort(lost, self._context))
        _aborting.add(task)
        task.add_done_callback(_aborting.discard)
        await asyncio.shield(task)

    async def read(self, request: Request) -> None:
        """
        Read all of it.

        Raises:
            InvalidRequest: By the field's name, what is wrong with it.
            FileTooLarge
            BodyTooLarge, BodyTooSlow, BodyMalformed, BodyOfOtherType
            StorageUnavailable, StorageMisconfigured, RedisUnavailable, RedisFull
        """
        settings = self._context.settings
        most = settings.max_upload_bytes * len(set(self._names.values())) + AROUND_BYTES
        async with aclosing(read_form(request, max_bytes=most, timeout_s=settings.body_timeout_s)) as form:
            async for each in form:
                if isinstance(each, Part):
                    await self._end_part()
                    self._begin_part(each)
                else:
                    await self._take(each)
            await self._end_part()

    async def keep_all(self, caller: Caller, *, purpose: str, expires_after_s: float) -> dict[str, list[File]]:
        """Keep its files, by field; all of them or none. Raises as `SentFile.keep` does."""
        try:
            return {
                field: [await each.keep(caller, purpose=purpose, expires_after_s=expires_after_s) for each in files]
                for field, files in self.files.items()
            }
        except FilesTooLarge:
            await self.take_back()
            raise

    async def take_back(self) -> None:
        """Have those files go that were kept, as `Intake.take_back` does: nothing came of the form."""
        for each in self._all():
            await self._context.loop.write(each.intake.take_back)

    def _all(self) -> list[SentFile]:
        return [each for files in self.files.values() for each in files]

    def _begin_part(self, part: Part) -> None:
        self._name = part.name[:_FIELD_CHARS]
        field = self._names.get(part.name)
        if field is None:
            self._begin_text(part)
            return
        files, most = self.files.setdefault(field, []), self._several.get(field, 1)
        if len(files) == most:
            raise InvalidRequest(field, "is given more than once" if most == 1 else f"is given more than {most} times")
        self._file = SentFile(field, part.filename, self._context)
        files.append(self._file)

    def _begin_text(self, part: Part) -> None:
        if self._name in self.texts:
            raise InvalidRequest(self._name, "is given more than once")
        if part.filename is not None:
            fields = " or ".join(repr(each) for each in dict.fromkeys(self._names.values()))
            raise InvalidRequest(self._name, f"must be no file: a file is sent as {fields}")
        self._text = bytearray()

    async def _take(self, piece: bytes) -> None:
        if self._file is not None:
            await self._file.take(piece)
        elif self._text is not None:
            self._text += piece
            if len(self._text) > self._max_text_bytes:
                raise InvalidRequest(self._name, f"may have at most {self._max_text_bytes} bytes")

    async def _end_part(self) -> None:
        file, text = self._file, self._text
        self._file = self._text = None
        if file is not None:
            await file.end()
        elif text is not None:
            self.texts[self._name] = text.decode(errors="replace")


async def _abort(files: list[SentFile], context: Context) -> None:
    for each in files:
        await context.loop.write(each.intake.abort)
