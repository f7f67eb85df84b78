"""All that stands in a Redis at one moment, by one command: who looks after each of thousands of steps asks once."""

from __future__ import annotations

from typing import Any

import redis

_SCRIPT = """
local read = {
  hash = function(name) return redis.call('HGETALL', name) end,
  list = function(name) return redis.call('LRANGE', name, 0, -1) end,
  set = function(name) return redis.call('SMEMBERS', name) end,
  stream = function(name) return redis.call('XRANGE', name, '-', '+') end,
  string = function(name) return redis.call('GET', name) end,
  zset = function(name) return redis.call('ZRANGE', name, 0, -1, 'WITHSCORES') end,
}
local found = {}
for at, name in ipairs(redis.call('KEYS', '*')) do
  found[at] = {name, redis.call('TTL', name), read[redis.call('TYPE', name).ok](name)}
end
return found
"""


class Snapshot:
    """Answers some of what a connection does, whole, and nothing of what is not there."""

    def __init__(self, client: redis.Redis) -> None:
        found: Any = client.eval(_SCRIPT, 0)
        self._values: dict[str, Any] = {name: value for name, _, value in found}
        self._ttls: dict[str, int] = {name: ttl for name, ttl, _ in found}

    def keys(self, start: str) -> set[str]:
        return {name for name in self._values if name.startswith(start)}

    def ttl(self, name: str) -> int:
        return self._ttls.get(name, -2)

    def lrange(self, name: str) -> list[str]:
        return list(self._values.get(name, []))

    def smembers(self, name: str) -> set[str]:
        return set(self._values.get(name, []))

    def hgetall(self, name: str) -> dict[str, str]:
        value = self._values.get(name, [])
        return dict(zip(value[::2], value[1::2], strict=True))

    def zrange(self, name: str) -> list[str]:
        return list(self._values.get(name, []))[::2]

    def scores(self, name: str) -> dict[str, float]:
        value = self._values.get(name, [])
        return dict(zip(value[::2], map(float, value[1::2]), strict=True))

    def xrange(self, name: str) -> list[dict[str, str]]:
        return [dict(zip(each[::2], each[1::2], strict=True)) for _, each in self._values.get(name, [])]
