"""How full Redis is. Submissions are refused before it is full, so that what runs can still be written down."""

from __future__ import annotations

import time
from typing import Any

import redis

from jobs.errors import RedisFull
from jobs.process.address import address_of
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors

FULL_SHARE = 0.85  # of maxmemory
KEPT_SHARE = 0.4  # that one caller's jobs may take: two callers that do leave others room below `FULL_SHARE`
LAST_SHARE = 0.95  # from which on nothing comes in by any door: the rest is for jobs that are there already
_LOOK_EVERY_S = 1.0


class MemoryGauge:
    """Asks Redis for its memory, at most once a second."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._next_look = 0.0
        self._used, self._most = 0, 0

    def share_bytes(self, share: float) -> int | None:
        """So much of what Redis may use; None where it has no bound. Raises `RedisUnavailable`."""
        self._look()
        return int(share * self._most) if self._most else None

    def refuse_if_full(self) -> None:
        """
        Look whether there is room for more jobs.

        Raises:
            RedisFull: More than 85 % of `maxmemory` is used.
        """
        self._look()
        if self._most and self._used > FULL_SHARE * self._most:
            raise RedisFull(
                f"Redis at {address_of(self._settings.redis_url)} is full "
                f"({self._used >> 20} of {self._most >> 20} MiB): nothing was queued. "
                "Drop jobs that have ended (`./imagemill jobs drop`), or give it more memory (maxmemory)."
            )

    def _look(self) -> None:
        now = time.monotonic()
        if now >= self._next_look:
            with map_errors(self._settings):
                memory: dict[str, Any] = self._redis.info("memory")
            self._used, self._most = int(memory["used_memory"]), int(memory.get("maxmemory", 0))
            self._next_look = now + _LOOK_EVERY_S
