"""How full Redis is. Submissions are refused before it is full, so that what runs can still be written down."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import redis
import structlog

from jobs.errors import RedisFull
from jobs.process.address import address_of
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors

log = structlog.get_logger()

FULL_SHARE = 0.85  # of maxmemory
KEPT_SHARE = 0.4  # that one caller's jobs may take: two callers that do leave others room below `FULL_SHARE`
LAST_SHARE = 0.95  # from which on nothing is accepted in any way: the rest is for jobs that are there already
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What Redis uses and may use, in bytes; without a bound, `max_bytes` is 0."""

    used_bytes: int
    max_bytes: int


def read_memory(client: redis.Redis, settings: Settings) -> Memory | None:
    """
    How full Redis is; None where its user may not ask (`INFO`).

    Raises:
        RedisUnavailable
    """
    with map_errors(settings):
        try:
            info: dict[str, Any] = client.info("memory")
        except redis.exceptions.NoPermissionError:
            return None
    return Memory(used_bytes=int(info["used_memory"]), max_bytes=int(info.get("maxmemory", 0)))


class MemoryGauge:
    """Asks Redis for its memory, at most once a second."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._next_look = 0.0
        self._last: Memory | None = None
        self._has_said = False

    def share_bytes(self, share: float) -> int | None:
        """So much of what Redis may use; None where it has no bound. Raises `RedisUnavailable`."""
        last = self._look()
        return int(share * last.max_bytes) if last is not None and last.max_bytes else None

    def refuse_if_full(self) -> None:
        """
        Look whether there is room for more jobs. Where Redis does not say, there is: until it takes no more itself.

        Raises:
            RedisFull: More than 85 % of `maxmemory` is used.
        """
        last = self._look()
        if last is not None and last.max_bytes and last.used_bytes > FULL_SHARE * last.max_bytes:
            raise RedisFull(
                f"Redis at {address_of(self._settings.redis_url)} is full "
                f"({last.used_bytes >> 20} of {last.max_bytes >> 20} MiB): nothing was queued. "
                "Drop jobs that have ended (`./imagemill jobs drop`), or give it more memory (maxmemory)."
            )

    def _look(self) -> Memory | None:
        now = time.monotonic()
        if now >= self._next_look:
            self._last = read_memory(self._redis, self._settings)
            self._next_look = now + _LOOK_EVERY_S
            self._say_unless_known()
        return self._last

    def _say_unless_known(self) -> None:
        if self._last is None and not self._has_said:
            log.warning(
                "Redis does not report its memory to this user: jobs are accepted until none is left, even for those "
                "that run. Let the user run INFO, see docs/redis.md"
            )
            self._has_said = True
