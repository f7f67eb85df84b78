"""A dump is restored as it was, with its moments as far back as they were when it was taken."""

from __future__ import annotations

import json
import time

import redis

from tests.dumps import TAKEN_AT, Dump, dump, restore

KEYS = ("text", "bits", "hash", "list", "set", "zset", "stream")


def fill(client: redis.Redis, moment: float) -> None:
    client.set("text", "größer ☃")
    client.set("soon gone", "x", px=90_000)
    client.setbit("bits", 0, 1)
    client.hset(
        "hash", mapping={"created_at": f"{moment:.6f}", "turn": "300000000000123", "spec": '{"seed": 1795489800}'}
    )
    client.rpush("list", "b", "a", "b")
    client.sadd("set", "one", "two")
    client.zadd("zset", {"a job": 1, "a turn": 300_000_000_000_123, "a lease": moment})
    client.xadd("stream", {"type": "status", "data": "{}"}, id=f"{int(moment * 1000)}-1")


def test_all_kinds_come_back(redis_client: redis.Redis) -> None:
    fill(redis_client, time.time())
    first = json.loads(json.dumps(dump(redis_client)))
    redis_client.flushdb()
    restore(redis_client, first | {TAKEN_AT: {"value": f"{time.time():.6f}"}})
    second = dump(redis_client)
    assert set(first) == set(second) == {TAKEN_AT, "soon gone", *KEYS}
    for key in ("text", "bits", "list", "set"):
        assert second[key] == first[key]
    assert 0 < second["soon gone"]["ttl_s"] <= 90
    assert redis_client.getbit("bits", 0) == 1


def test_moments_keep_their_distance_and_nothing_else_moves(redis_client: redis.Redis) -> None:
    taken_at = 1_700_000_000.0
    fill(redis_client, taken_at - 10)
    dumped: Dump = dump(redis_client) | {TAKEN_AT: {"value": f"{taken_at:.6f}"}}
    redis_client.flushdb()
    restore(redis_client, dumped)
    moved = dump(redis_client)
    now = time.time()
    assert now - 60 < float(moved["hash"]["value"]["created_at"]) <= now - 10
    assert (moved["hash"]["value"]["turn"], moved["hash"]["value"]["spec"]) == (
        "300000000000123",
        '{"seed": 1795489800}',
    )
    scores = dict(moved["zset"]["value"])
    assert (scores["a job"], scores["a turn"]) == (1, 300_000_000_000_123)
    assert now - 60 < scores["a lease"] <= now - 10
    (entry_id, fields), *_ = moved["stream"]["value"]
    assert now - 60 < int(entry_id.removesuffix("-1")) / 1000 <= now - 10
    assert fields == {"type": "status", "data": "{}"}
