"""
Celery's result backends, but that a result is written where Redis is full, too, as the end of the job itself is: it is
small and expires, and a client that waits for one that was not written waits for ever. A result that comes late
overwrites none of a later run. And a chord whose body may not have been sent is not yet notified.
"""

from __future__ import annotations

from typing import Any

from celery.backends.redis import RedisBackend, SentinelBackend
from celery.exceptions import BackendStoreError
from celery.states import PENDING, READY_STATES
from kombu.utils.encoding import bytes_to_str

# Each notice of a run has a moment: when that was claimed, or ended. A notifier may be stalled until a later run has
# sent its own, which stays. A result without a moment is Celery's own, of no job: an end goes over it, and over such an
# end no start. The moment stands last, where nothing that a sender chose can look like it.
_SET = """#!lua flags=allow-oom
local key, value, expires, state, moment = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local before = redis.call('SET', key, value, 'GET', unpack(expires > 0 and {'EX', expires} or {}))

local function is_overtaken()
  if not before or not moment then return false end
  local other = tonumber(string.match(string.sub(before, -64), '"moment": ([%d.]+)}$'))
  if other then return moment < other end
  return state == 'STARTED' and READY[string.match(before, '^{"status": "(%u+)"')]
end

if is_overtaken() then
  redis.call('SET', key, before, 'KEEPTTL')
  return 0
end
redis.call('PUBLISH', key, value)
return 1
""".replace("READY", "({" + ", ".join(f"{each} = true" for each in sorted(READY_STATES)) + "})")


class Overtaken(Exception):
    """A later run of the same job has reported itself: there is nothing to report any more."""


class ChordInOtherHands(Exception):
    """All parts of a chord are in, and another process has said that it sends the body, and has not: it may be dead."""


_Consumer: Any = RedisBackend.ResultConsumer


class _NoConsumer(_Consumer):  # type: ignore[misc]
    """
    Receives no results: nobody here waits for what a callback comes to, and those of a chord's parts are there when it
    is complete. Celery's own subscribes to each, and unsubscribes in whatever thread Python collects its garbage.
    """

    def consume_from(self, _task_id: str) -> None:
        """Subscribe to nothing."""

    def cancel_for(self, _task_id: str) -> None:
        """Likewise."""


class _AtLeastOnce:
    """Mixed into Celery's backends."""

    ResultConsumer: Any = _NoConsumer

    def get_state(self, _task_id: str) -> str:
        """
        Of no use here: Celery asks it for the failed parts of a chain alone, to return none to its chord a second time.
        That does no harm, while leaving it out loses the chord where the first time came to nothing.
        """
        return PENDING

    def on_chord_part_return(
        self, request: Any, state: str, result: Any, propagate: Any = None, **options: Any
    ) -> None:
        """
        Note a part of a chord; send the body with the last.

        Celery has one process claim that for some seconds, and the others take it for done. What becomes of a claim
        whose process is killed is that a part has to return once more, behind it.

        Raises:
            ChordInOtherHands: To be tried again, until the body is sent.
        """
        backend: Any = super()
        backend.on_chord_part_return(request, state, result, propagate, **options)
        if request.group and self._is_complete(request.group):
            raise ChordInOtherHands(request.group)

    def _is_complete(self, group_id: str) -> bool:
        """Whether all parts of a chord are in: what is known of them goes when the body is sent."""
        backend: Any = self
        size, further, parts = (backend.get_key_for_group(group_id, suffix) for suffix in (".s", ".t", ".j"))
        with backend.client.pipeline() as pipe:
            pipe.mget(size, further)
            pipe.zcard(parts) if backend._chord_zset else pipe.llen(parts)
            (expected, added), returned = pipe.execute()
        return expected is not None and returned == int(expected) + int(added or 0)

    def _set(
        self, key: str, value: str, expires: int | None = None, state: str = "", moment: float | None = None
    ) -> bool:
        backend: Any = self
        expires_s = backend.expires or 0 if expires is None else expires
        return bool(backend.client.eval(_SET, 1, key, value, expires_s, state, "" if moment is None else moment))

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **_options: Any
    ) -> Any:
        """
        Celery's own asks first what is there; here the script does that writes it.

        Args:
            request: With the `moment` of what is reported, where it is a job's.

        Raises:
            Overtaken: Nothing is written.
        """
        backend: Any = self
        meta = backend._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        meta["task_id"] = bytes_to_str(task_id)
        moment = getattr(request, "moment", None)
        if moment is not None:
            meta["moment"] = moment
        value = backend.encode(meta)
        if len(value) > backend._MAX_STR_VALUE_SIZE:
            raise BackendStoreError("the result is too large for Redis")
        if not backend.ensure(self._set, (backend.get_key_for_task(task_id), value, None, state, moment)):
            raise Overtaken(task_id)
        return result


class NotifyingRedisBackend(_AtLeastOnce, RedisBackend):
    """For redis:// and rediss://."""


class NotifyingSentinelBackend(_AtLeastOnce, SentinelBackend):
    """For sentinel://."""


RESULT_BACKENDS = {
    "redis": f"{__name__}:NotifyingRedisBackend",
    "rediss": f"{__name__}:NotifyingRedisBackend",
    "sentinel": f"{__name__}:NotifyingSentinelBackend",
}
