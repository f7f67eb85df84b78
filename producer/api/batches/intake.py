"""A batch's lines on their way from the request into the job table, and what becomes of each into the spool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

from fastapi import Request

from jobs.errors import ImagemillError, InvalidRequest, RedisUnavailable
from producer.api.batches.bulk import LINE_BYTES, MAX_ITEM_BYTES, Bulk, LineAnswer
from producer.api.batches.items import Items
from producer.api.context import Context
from producer.api.http.bodies import stream
from producer.api.http.errors import problem_of
from producer.api.keys.callers import Callers
from producer.api.keys.open_requests import OpenRequest
from producer.api.spool import Spool
from producer.keys.errors import KeyRefused

MAX_JOBS = 100_000

_BULK_JOBS, _BULK_BYTES = 100, 1 << 20  # As much is one caller's turn.
_CUT_BYTES = 8_192  # To cut brackets out of so many takes milliseconds, in which nobody else is served.


class Intake:
    """One request's."""

    def __init__(self, request: Request, context: Context, bulk: Bulk, spool: Spool) -> None:
        self._request = request
        self._context = context
        self._bulk = bulk
        self._spool = spool
        self._pending: list[bytes | None] = []
        self._pending_bytes = 0

    async def take(self) -> None:
        """
        Read the request, queue its jobs, and write what became of them.

        What ends the request when some are queued already comes as one more answer, behind theirs.

        Raises:
            ImagemillError: Nothing was queued.
        """
        open_request: OpenRequest = self._request.state.open_request
        try:
            with open_request.ended_by_refusal():
                await self._read()
                await self._flush()
        except ImagemillError as exc:
            if self._bulk.count == 0:
                raise
            await self._send_end(exc)
        if self._bulk.count == 0:
            raise InvalidRequest("request", "has no jobs")

    async def _read(self) -> None:
        settings, items = self._context.settings, Items(MAX_ITEM_BYTES)
        most, timeout_s = settings.max_batch_bytes, settings.body_timeout_s
        async for chunk in stream(self._request, max_bytes=most, timeout_s=timeout_s):
            for at in range(0, len(chunk), _CUT_BYTES):
                await self._add(items.feed(chunk[at : at + _CUT_BYTES]))
                await asyncio.sleep(0)
        await self._add(items.finish())

    async def _add(self, found: Iterator[bytes | None]) -> None:
        for item in found:
            if self._bulk.count + len(self._pending) == MAX_JOBS:
                raise InvalidRequest(
                    "request", f"a batch has {MAX_JOBS} jobs at most; this one and what follows is not in it"
                )
            self._pending.append(item)
            self._pending_bytes += len(item or b"")
            if len(self._pending) >= _BULK_JOBS or self._pending_bytes >= _BULK_BYTES:
                await self._flush()

    async def _flush(self) -> None:
        """Queue what is pending, as the caller may now."""
        if not self._pending:
            return
        callers: Callers = self._request.app.state.callers
        with suppress(RedisUnavailable):  # Each line is answered so, then.
            self._bulk.caller = await callers.still(self._bulk.caller)
        taken, self._pending, self._pending_bytes = self._pending, [], 0
        await self._context.loop.run_bulk(lambda: self._submit(taken))

    def _submit(self, items: list[bytes | None]) -> None:
        self._spool.reserve((len(items) + 1) * LINE_BYTES)  # One is for what may end the request.
        if self._bulk.count == 0:
            self._bulk.open()
        self._spool.write(answer.encoded() for answer in self._bulk.submit(items))

    async def _send_end(self, reason: ImagemillError) -> None:
        try:
            if not isinstance(reason, KeyRefused):
                await self._flush()
        except ImagemillError as exc:
            reason = exc
        answer = LineAnswer(line=self._bulk.count + 1, problem=problem_of(reason)).encoded()
        await self._context.loop.run_bulk(lambda: self._spool.write([answer]))
