"""An answer that many ask for and one fetches, now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from producer.client.loop_turns import working_in

Answer = TypeVar("Answer")


class Remembered(Generic[Answer]):
    """Keeps the last answer for a while; a caller that comes while it is fetched waits for that one."""

    def __init__(self, fetch: Callable[[], Awaitable[Answer]], keep_s: float) -> None:
        self._fetch = fetch
        self._keep_s = keep_s
        self._lock = asyncio.Lock()
        self._last: tuple[float, Answer] | None = None

    async def get(self) -> Answer:
        """The answer, at most `keep_s` old. Raises what fetching it raises."""
        async with self._lock:
            if self._last is None or time.monotonic() >= self._last[0] + self._keep_s:
                with working_in(None):  # Many wait for it, whoever fetches it.
                    self._last = (time.monotonic(), await self._fetch())
            return self._last[1]
