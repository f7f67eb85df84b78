"""
What callers who submit by Celery alone are told of their jobs' ends.

Celery's result backends, but that a result is written where Redis is full, too, as the end of the job itself is: it is
small and expires, and whoever waits for one that was not written waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from celery import Task
from celery.backends.redis import RedisBackend, SentinelBackend

from jobs.table.record import JobRecord
from jobs.table.states import Status
from workers.delivery.transport import kind_of_error

log = structlog.get_logger()

_SET = """#!lua flags=allow-oom
redis.call('SET', KEYS[1], ARGV[1])
if tonumber(ARGV[2]) > 0 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
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


def tell_start(task: Task[..., Any]) -> None:
    """A job has been claimed for the message in hand. Not earlier: it may be a repetition of one that has ended."""
    if not _is_ignored(task):
        _try_to_tell(lambda: task.update_state(state="STARTED", meta={"hostname": task.request.hostname}))


def tell_revoked(task: Task[..., Any], record: JobRecord) -> None:
    """A job that was canceled, or whose deadline passed, is to Celery a task that was revoked."""
    reason = "expired" if record.status is Status.EXPIRED else "canceled"
    is_wanted = not _is_ignored(task)
    _try_to_tell(lambda: task.backend.mark_as_revoked(record.id, reason, request=task.request, store_result=is_wanted))


def _is_ignored(task: Task[..., Any]) -> bool:
    return bool(task.ignore_result or task.request.ignore_result)


def _try_to_tell(tell: Callable[[], Any]) -> None:
    try:
        tell()
    except Exception as exc:  # noqa: BLE001 - backends of all kinds fail in ways of their own
        log.error("Celery's result not written", error=kind_of_error(exc))
