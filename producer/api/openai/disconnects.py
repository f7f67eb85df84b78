"""
Clients that wait for their jobs. When one disconnects, its job is canceled, because nobody else knows its id.

A job with an idempotency key continues: a repeated request with the same key gets it.
"""

from __future__ import annotations

import asyncio

import structlog
from fastapi import Request

from jobs.errors import ImagemillError
from jobs.view import JobView
from producer.api.context import Context
from producer.client.async_job import AsyncJob

log = structlog.get_logger()

_leaving: set[asyncio.Task[None]] = set()  # A task that nobody holds may be collected before it has run.


async def wait_while_connected(request: Request, context: Context, job_id: str) -> JobView | None:
    """
    Wait until the job ends, or until the client disconnects, which returns None. The body must have been read.

    Raises:
        JobNotFound, RedisUnavailable
        WaitTimeout: This process is about to stop.
    """
    waiting = asyncio.create_task(AsyncJob(job_id, context.loop).wait())
    leaving = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait([waiting, leaving], return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else None
    finally:
        waiting.cancel()
        leaving.cancel()


def cancel_soon(context: Context, job_id: str) -> None:
    """Cancel a job in a task of its own: the calling task may be about to be canceled itself."""
    task = asyncio.create_task(_cancel(context, job_id))
    _leaving.add(task)
    task.add_done_callback(_leaving.discard)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _cancel(context: Context, job_id: str) -> None:
    try:
        await AsyncJob(job_id, context.loop).cancel()
    except ImagemillError as exc:
        log.warning("a job was not canceled after its client disconnected", job_id=job_id, reason=str(exc))
