"""
Celery's result backends, but that a result is written where Redis is full, too, as the end of the job itself is: it is
small and expires, and whoever waits for one that was not written waits for ever.
"""

from __future__ import annotations

from typing import Any

from celery.backends.redis import RedisBackend, SentinelBackend

_SET = """#!lua flags=allow-oom
if tonumber(ARGV[2]) > 0 then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) else redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('PUBLISH', KEYS[1], ARGV[1])
"""


class _SetsWhenFull:
    """Mixed into Celery's backends."""

    def _set(self, key: str, value: str, expires: int | None = None) -> None:
        backend: Any = self
        backend.client.eval(_SET, 1, key, value, backend.expires or 0 if expires is None else expires)


class FullRedisBackend(_SetsWhenFull, RedisBackend):
    """For redis:// and rediss://."""


class FullSentinelBackend(_SetsWhenFull, SentinelBackend):
    """For sentinel://."""


RESULT_BACKENDS = {
    "redis": f"{__name__}:FullRedisBackend",
    "rediss": f"{__name__}:FullRedisBackend",
    "sentinel": f"{__name__}:FullSentinelBackend",
}
