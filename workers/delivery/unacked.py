"""
The copies that kombu keeps in Redis of messages that are in hand and not acknowledged yet.

They are made, moved and put back by scripts that run where Redis is full, too: there is room for a message that stood
in a list a moment ago. A copy goes back into its queue when it is due: an hour after it was made, if nobody has said
what became of the message, or earlier, where its worker said so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from jobs.redis.memory import FULL_SHARE

_KEEP = """#!lua flags=allow-oom
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
"""

_DROP = """#!lua flags=allow-oom
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])
"""

# Of two workers that put the same copy back, one does.
_PUT = """#!lua flags=allow-oom
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 and ARGV[4] == '1' then return 0 end
for at = 3, #KEYS do redis.call(ARGV[3], KEYS[at], ARGV[2]) end
return 1
"""

# Nothing while Redis is full: no job would be made of them. INFO is not everybody's to ask.
_DUE = """#!lua flags=no-writes
local memory = redis.pcall('INFO', 'memory')
if type(memory) == 'string' then
  local used, most = string.match(memory, 'used_memory:(%d+)'), string.match(memory, 'maxmemory:(%d+)')
  if used and most and tonumber(most) > 0 and tonumber(used) > tonumber(ARGV[3]) * tonumber(most) then return {} end
end
return redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
"""


class Unacked:
    """
    Copies by the tags of their messages' delivery.

    Args:
        hash_key: Of the hash with the copies.
        index_key: Of the sorted set that says when each was made; an hour later it is due.
    """

    def __init__(self, client: redis.Redis, hash_key: str = "unacked", index_key: str = "unacked_index") -> None:
        self._redis = client
        self._hash, self._index = hash_key, index_key

    def keep(self, tag: str, copy: str, made_at: float) -> None:
        """Make or renew a copy."""
        self._run(_KEEP, (self._hash, self._index), tag, copy, made_at)

    def drop(self, tag: str) -> None:
        """The message is done with."""
        self._run(_DROP, (self._hash, self._index), tag)

    def put(self, tag: str, message: str, lists: Sequence[str], *, last: bool, is_kept: bool) -> bool:
        """
        Put a message into lists, in place of its copy.

        Args:
            last: Behind all others, or in front of them.
            is_kept: It has to have a copy; if it has none any more, somebody else has put it back.

        Returns:
            Whether it was put there.
        """
        push = "LPUSH" if last else "RPUSH"
        return bool(self._run(_PUT, (self._hash, self._index, *lists), tag, message, push, int(is_kept)))

    def copy_of(self, tag: str) -> str | bytes | None:
        """The copy itself, if there is one."""
        copy: Any = self._redis.hget(self._hash, tag)
        return copy if isinstance(copy, str | bytes) else None

    def due(self, made_until: float, most: int) -> list[str]:
        """Tags of copies made until then, the oldest first; none while Redis has no room for more jobs."""
        tags = self._run(_DUE, (self._index,), made_until, most, FULL_SHARE)
        return [tag.decode() if isinstance(tag, bytes) else str(tag) for tag in tags]

    def _run(self, script: str, keys: Sequence[str], *args: object) -> Any:
        return self._redis.eval(script, len(keys), *keys, *[str(arg) for arg in args])
