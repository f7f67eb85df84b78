"""Ends what is open when its key is revoked, rotated or unreadable; or when the first key closes the API to others."""

from __future__ import annotations

import asyncio

import structlog

from jobs.errors import RedisUnavailable
from producer.api.keys.callers import Caller, Callers
from producer.api.keys.open_requests import OpenRequests
from producer.keys.errors import KeyRefused

log = structlog.get_logger()

_AT_ONCE = 8  # Requests that end in one step of the event loop.
LOOK_EVERY_S = 2.0  # With what a process remembers of a key for as long, an open request outlives it by four at most.


class KeyWatch:
    """One for each process: it asks for each key that has something open, however many requests these are."""

    def __init__(self, callers: Callers, open_requests: OpenRequests) -> None:
        self._callers = callers
        self._open_requests = open_requests
        self._is_closed = False
        self._task = asyncio.create_task(self._watch(), name="key watch")

    async def aclose(self) -> None:
        """Look no more."""
        self._is_closed = True  # For a cancellation can get lost (CPython issue 86296).
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while not self._is_closed:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._look()
            except RedisUnavailable:
                continue  # Nobody else is let in meanwhile either.
            except Exception:  # All revoked keys hang on this one task.
                log.exception("bug in the watch over open requests")

    async def _look(self) -> None:
        refused: dict[str | None, KeyRefused | None] = {}
        ended = 0
        for open_request in self._open_requests.with_callers():
            caller = open_request.caller
            if caller is None:
                continue
            digest = caller.key.token_hash if caller.key else None
            if digest not in refused:
                refused[digest] = await self._refusal(caller)
            if reason := refused[digest]:
                open_request.refuse(reason)
                ended += 1
                if ended % _AT_ONCE == 0:
                    await asyncio.sleep(0)  # Let others have their turn.

    async def _refusal(self, caller: Caller) -> KeyRefused | None:
        try:
            await self._callers.still(caller)
        except KeyRefused as exc:
            return exc
        return None
