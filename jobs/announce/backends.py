"""
Celery's result backends, but that a result is written where Redis is full, too, as the end of the job itself is: it is
small and expires, and whoever waits for one that was not written waits for ever.
"""

from __future__ import annotations

from typing import Any

from celery.backends.redis import RedisBackend, SentinelBackend
from celery.exceptions import BackendStoreError
from kombu.utils.encoding import bytes_to_str

# That a task has begun, which may come late, goes over no success. An end goes over whatever is there: a job has one.
_SET = """#!lua flags=allow-oom
local function set(...)
  if tonumber(ARGV[2]) > 0 then return redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2], ...) end
  return redis.call('SET', KEYS[1], ARGV[1], ...)
end
if ARGV[3] ~= 'STARTED' then
  set()
elseif not set('NX') then
  if string.find(redis.call('GET', KEYS[1]) or '', '"status": "SUCCESS"', 1, true) then return end
  set()
end
redis.call('PUBLISH', KEYS[1], ARGV[1])
"""


class _SetsWhenFull:
    """Mixed into Celery's backends."""

    def _set(self, key: str, value: str, expires: int | None = None, state: str = "") -> None:
        backend: Any = self
        backend.client.eval(_SET, 1, key, value, backend.expires or 0 if expires is None else expires, state)

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **_options: Any
    ) -> Any:
        """Celery's own asks first what is there; here the script does that writes it, where it matters."""
        backend: Any = self
        meta = backend._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        meta["task_id"] = bytes_to_str(task_id)
        value = backend.encode(meta)
        if len(value) > backend._MAX_STR_VALUE_SIZE:
            raise BackendStoreError("the result is too large for Redis")
        backend.ensure(self._set, (backend.get_key_for_task(task_id), value, None, state))
        return result


class FullRedisBackend(_SetsWhenFull, RedisBackend):
    """For redis:// and rediss://."""


class FullSentinelBackend(_SetsWhenFull, SentinelBackend):
    """For sentinel://."""


RESULT_BACKENDS = {
    "redis": f"{__name__}:FullRedisBackend",
    "rediss": f"{__name__}:FullRedisBackend",
    "sentinel": f"{__name__}:FullSentinelBackend",
}
