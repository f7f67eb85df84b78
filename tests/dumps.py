"""
All that a Redis holds, as JSON: `{key: {"type", "ttl_s" or null, "value"}}`, whatever the server and its version.

What is restored is as if it had been written just now: moments keep their distance from the dump. A moment is a time in
seconds as the job table writes it (`1795489800.172009`), the score of a sorted set near the time of the dump, or the id
of a stream's entry. Bytes that are no UTF-8 are kept as lone surrogates.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import redis

Dump = dict[str, dict[str, Any]]

TAKEN_AT = "tests:taken_at"  # In the dump alone.

_MOMENT = re.compile(r"\d{10}\.\d{6}")
_NEAR_S = 400 * 24 * 3600


def dump(client: redis.Redis) -> Dump:
    """Everything in the database of a client."""
    found: Dump = {TAKEN_AT: {"type": "string", "ttl_s": None, "value": f"{time.time():.6f}"}}
    with _plain(client) as plain:
        for key in sorted(set(plain.scan_iter())):
            kind, left_ms = plain.type(key), plain.pttl(key)
            if kind != "none":  # It may have expired meanwhile.
                ttl_s = left_ms / 1000 if left_ms >= 0 else None
                found[key] = {"type": kind, "ttl_s": ttl_s, "value": _READ[kind](plain, key)}
    return found


def restore(client: redis.Redis, dumped: Dump) -> None:
    """Write a dump into the database of a client, beside what is there."""
    moved_s = time.time() - float(dumped[TAKEN_AT]["value"])
    with _plain(client) as plain:
        for key, entry in dumped.items():
            if key == TAKEN_AT:
                continue
            plain.delete(key)
            _WRITE[entry["type"]](plain, key, entry["value"], moved_s)
            if entry["ttl_s"] is not None:
                plain.pexpire(key, max(1, int(entry["ttl_s"] * 1000)))


def _plain(client: redis.Redis) -> Any:
    """The same Redis by a client whose texts are exact; untyped, for its answers are of many kinds."""
    kwargs = {
        **client.connection_pool.connection_kwargs,
        "decode_responses": True,
        "encoding_errors": "surrogateescape",
    }
    return redis.Redis(connection_pool=redis.ConnectionPool(**kwargs))


_READ: dict[str, Callable[[Any, str], Any]] = {
    "string": lambda plain, key: plain.get(key),
    "hash": lambda plain, key: plain.hgetall(key),
    "list": lambda plain, key: plain.lrange(key, 0, -1),
    "set": lambda plain, key: sorted(plain.smembers(key)),
    "zset": lambda plain, key: [list(each) for each in plain.zrange(key, 0, -1, withscores=True)],
    "stream": lambda plain, key: [list(each) for each in plain.xrange(key)],
}


def _write_hash(plain: Any, key: str, value: dict[str, str], moved_s: float) -> None:
    plain.hset(key, mapping={name: _bytes(_moved(text, moved_s)) for name, text in value.items()})


def _write_zset(plain: Any, key: str, value: list[tuple[str, float]], moved_s: float) -> None:
    now = time.time()
    is_near = {member: abs(score + moved_s - now) < _NEAR_S for member, score in value}
    plain.zadd(key, {member: score + moved_s if is_near[member] else score for member, score in value})


def _write_stream(plain: Any, key: str, value: list[tuple[str, dict[str, str]]], moved_s: float) -> None:
    for entry_id, fields in value:
        moment_ms, _, number = entry_id.partition("-")
        plain.xadd(key, fields, id=f"{int(moment_ms) + int(moved_s * 1000)}-{number}")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _moved(text: str, moved_s: float) -> str:
    return f"{float(text) + moved_s:.6f}" if _MOMENT.fullmatch(text) else text


_WRITE: dict[str, Callable[[Any, str, Any, float], Any]] = {
    "string": lambda plain, key, value, _: plain.set(key, _bytes(value)),
    "hash": _write_hash,
    "list": lambda plain, key, value, _: plain.rpush(key, *map(_bytes, value)),
    "set": lambda plain, key, value, _: plain.sadd(key, *value),
    "zset": _write_zset,
    "stream": _write_stream,
}
