"""The jobs of a batch as they stand, line by line, however many there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
from fastapi import Request

from jobs.errors import ImagemillError
from jobs.table.record import JobRecord
from jobs.view import view_of
from producer.api.context import Context
from producer.api.http.errors import log_kept_back, problem_of

_AT_ONCE = 8  # A link takes a millisecond to sign, and others wait meanwhile.

Page = tuple[list[tuple[int, JobRecord]], int | None]


async def results_of(batch_id: str, context: Context, request: Request) -> AsyncIterator[bytes]:
    """
    The lines of the answer. Memory holds a page of the batch at a time.

    Raises:
        RedisUnavailable: Now. If it goes away later, the last line is the error.
    """
    return _lines(await _page(batch_id, context, 0), batch_id, context, request)


async def _lines(page: Page, batch_id: str, context: Context, request: Request) -> AsyncIterator[bytes]:
    records, behind = page
    while True:
        for at in range(0, len(records), _AT_ONCE):
            yield b"".join(_line(line, each, context, request) for line, each in records[at : at + _AT_ONCE])
            await asyncio.sleep(0)  # Let others have their turn.
        if behind is None:
            return
        try:
            records, behind = await _page(batch_id, context, behind)
        except ImagemillError as exc:
            problem = problem_of(exc)
            if problem is None:
                raise
            log_kept_back(exc, problem)
            yield orjson.dumps(problem.content()) + b"\n"
            return


async def _page(batch_id: str, context: Context, behind: int) -> Page:
    return await context.loop.run_bulk(lambda: context.parts.batches.records(batch_id, behind))


def _line(line: int, record: JobRecord, context: Context, request: Request) -> bytes:
    shown = {"line": line, "custom_id": record.custom_id, "job": context.views.job(view_of(record), request)}
    return orjson.dumps(shown) + b"\n"
