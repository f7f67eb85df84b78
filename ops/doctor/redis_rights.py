"""Whether our Redis user may run the commands that our programs need (`docs/redis.md`)."""

from __future__ import annotations

from typing import Any

import redis

from jobs import names
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from ops.doctor.finding import Finding, State

RIGHTS = "Redis rights"

_KEY, _CHANNEL = f"{names.KEY_PREFIX}:doctor", names.QUIET_CHANNEL
_OF_ONE_KEY = (
    *("exists", "get", "getdel", "hgetall", "hkeys", "hvals", "incr", "llen", "persist", "rpop", "scard", "smembers"),
    *("ttl", "type", "unlink", "del", "zcard", "zpopmin", "bitcount", "xlen", "mget"),
)
_OF_ONE_MORE = (
    *(
        "expire",
        "hdel",
        "hexists",
        "hget",
        "hmget",
        "hstrlen",
        "lindex",
        "lpush",
        "pexpire",
        "rpush",
        "sadd",
        "set",
        "sismember",
    ),
    *("srem", "zrank", "zrem", "zscan", "zscore", "brpop"),
)
_OF_TWO_MORE = (
    *(
        "hincrby",
        "hset",
        "hsetnx",
        "lrange",
        "lrem",
        "ltrim",
        "setbit",
        "xrange",
        "xrevrange",
        "zadd",
        "zcount",
        "zrange",
    ),
    *("zrangebyscore", "zremrangebyrank", "zremrangebyscore", "zrevrange", "zrevrangebyscore"),
)
# Each command as it is tried, without effect: what is queued in a transaction is refused to a user that may
# not do it, and then all of it is thrown away.
PROBES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_OF_ONE_KEY, (_KEY,)),
    **dict.fromkeys(_OF_ONE_MORE, (_KEY, "0")),
    **dict.fromkeys(_OF_TWO_MORE, (_KEY, "0", "0")),
    **{"client|setinfo": ("lib-name", "imagemill"), "ping": (), "time": (), "info": (), "scan": ("0",)},
    **{
        "eval": ("return 1", "0"),
        "evalsha": ("0" * 40, "0"),
        "script|load": ("return 1",),
        "script|exists": ("0" * 40,),
    },
    **{"memory|usage": (_KEY,), "lmpop": ("1", _KEY, "LEFT"), "zdiff": ("1", _KEY), "xadd": (_KEY, "*", "0", "0")},
    **{
        "xread": ("STREAMS", _KEY, "0"),
        "publish": (_CHANNEL, ""),
        "subscribe": (_CHANNEL,),
        "unsubscribe": (_CHANNEL,),
    },
    **{"psubscribe": ("/0.celeryev/*",), "unwatch": ()},
}
OUTSIDE = (
    "watch",
    "multi",
    "exec",
    "discard",
)  # a transaction of their own; the doctor's own is one that has the second
_OPTIONAL = {
    "memory|usage": "the memory of a caller's jobs is only estimated, and so is its limit",
    "info": "jobs are accepted until no memory is left, even for running jobs, and a restart of Redis is not noticed",
}
_KEYS = (
    *("gpu.doctor", "run.doctor", "any.doctor", "runs.doctor", "celery-task-meta-doctor", "celery-taskset-meta-doctor"),
    *("_kombu.binding.doctor", "_kombu.binding_permanent.doctor", "unacked", "doctor.celery.pidbox"),
)
_ADVICE = "Give its user the rights that docs/redis.md lists, by ACL SETUSER or in Redis' aclfile."


def check_rights(client: redis.Redis, settings: Settings) -> Finding:
    """
    What Redis would refuse to our user.

    Raises:
        RedisUnavailable
    """
    probes = [(name, [*name.upper().split("|"), *words]) for name, words in PROBES.items()]
    probes += [(f"access to {key}", ["DEL", key]) for key in _KEYS]
    with map_errors(settings):
        refused = _refused(client, probes)
    missing = [name for name in refused if name not in _OPTIONAL]
    if missing:
        found = f"its user lacks {', '.join(missing)}: our programs cannot start, or fail while they run"
        return Finding(check=RIGHTS, state=State.FAILURE, found=found, advice=_ADVICE)
    if refused:
        found = f"its user lacks {refused[0]}: {_OPTIONAL[refused[0]]}"
        return Finding(check=RIGHTS, state=State.WARNING, found=found, advice=_ADVICE)
    return Finding(check=RIGHTS, state=State.OK, found=f"its user may run all {len(PROBES)} commands that we use")


def _refused(client: redis.Redis, probes: list[tuple[str, list[str]]]) -> list[str]:
    """Those that Redis refuses, by a transaction that is never run."""
    connection: Any = client.connection_pool.get_connection()
    try:
        commands = [["MULTI"], *(words for _, words in probes), ["DISCARD"]]
        connection.send_packed_command(connection.pack_commands(commands))
        answers = [_answer(connection) for _ in commands]
    finally:
        connection.disconnect()  # Where even DISCARD was refused, the transaction ends with it.
        client.connection_pool.release(connection)
    if isinstance(answers[0], redis.exceptions.NoPermissionError):
        return ["multi"]
    refusals = zip(probes, answers[1:-1], strict=True)
    return [name for (name, _), answer in refusals if isinstance(answer, redis.exceptions.NoPermissionError)]


def _answer(connection: Any) -> object:
    try:
        return connection.read_response()
    except redis.exceptions.ResponseError as exc:
        return exc
