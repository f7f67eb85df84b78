"""What is known of the workers and the image store: asked for now and then, whatever the number of requests."""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog

from jobs import names
from jobs.fleet.backlog import backlog_in, unread_in
from jobs.kinds.registry import queues_for
from producer.api.remembered import Remembered
from producer.client.loop import LoopParts
from producer.client.parts import Parts
from storage.errors import StorageError, StorageUnavailable
from storage.store import Store

log = structlog.get_logger()

_ANSWER_S = 2.0
_REMEMBER_S = 5.0


def remembered_workers(loop: LoopParts) -> Remembered[dict[str, int]]:
    """How many workers serve each model."""

    async def count() -> dict[str, int]:
        workers = await loop.run(loop.parts.fleet.workers)
        return Counter(
            model for worker in workers for model in worker.models if worker.will_serve(names.queue_of(model))
        )

    return Remembered(count, _REMEMBER_S)


def remembered_unread(loop: LoopParts) -> Remembered[dict[str, int]]:
    """Messages in lists of Celery's queues, whether or not there is such a queue, from which no worker takes any."""

    async def count() -> dict[str, int]:
        return await loop.run(lambda: _unread(loop.parts))

    return Remembered(count, _REMEMBER_S)


def remembered_storage(loop: LoopParts) -> Remembered[str]:
    """Whether the image store answers: "ok", or what is wrong. One thread asks at most, however long that takes."""
    asking: asyncio.Task[str] | None = None

    async def ask() -> str:
        nonlocal asking
        if asking is None or asking.done():
            asking = asyncio.create_task(loop.run(lambda: _state_of(loop.parts.store)))
        done, _ = await asyncio.wait([asking], timeout=_ANSWER_S)
        return asking.result() if done else "does not answer"

    return Remembered(ask, _REMEMBER_S)


def _unread(parts: Parts) -> dict[str, int]:
    queues = queues_for(parts.catalogue.models)
    return unread_in(backlog_in(parts.redis, parts.settings, queues), parts.fleet.workers())


def _state_of(store: Store) -> str:
    try:
        store.check()
    except StorageUnavailable:
        return "does not answer"
    except StorageError as exc:
        log.warning("the store refuses", reason=str(exc))
        return "refuses"
    return "ok"
