"""Lists of queues that there are not are found by whoever reconciles, a piece at a time: on a real Redis."""

from __future__ import annotations

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.fleet.backlog import backlog_in, unread_in
from jobs.fleet.lists import list_of
from jobs.fleet.queue_scanner import EVERY_S, QueueScanner
from jobs.process.settings import Settings


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue_scanner(redis_client: redis.Redis, settings: Settings, clock: Clock) -> QueueScanner:
    return QueueScanner(redis_client, settings, clock, pieces=1)


def seen(client: redis.Redis, settings: Settings) -> dict[str, int]:
    return {each.key: each.messages for each in backlog_in(client, settings, ["gpu.shapes-flow"])}


def scans(client: redis.Redis) -> int:
    return int(client.info("commandstats").get("cmdstat_scan", {}).get("calls", 0))


def test_lists_of_queues_that_there_are_not_are_seen_as_long_as_something_stands_there(
    queue_scanner: QueueScanner, redis_client: redis.Redis, settings: Settings
) -> None:
    lists = ["gpu.shapes-flow", "gpu.nope", list_of("run.nope", 9), "any.nope"]
    for key in (*lists, "celery"):
        redis_client.lpush(key, "a message")
    assert set(seen(redis_client, settings)) == {"gpu.shapes-flow"}
    queue_scanner.scan()
    assert seen(redis_client, settings) == dict.fromkeys(lists, 1)
    redis_client.lpush("gpu.nope", "another")
    redis_client.delete("any.nope", "run.nope")
    redis_client.delete(list_of("run.nope", 9))
    redis_client.set("any.nope", "something else")
    backlog = backlog_in(redis_client, settings, ["gpu.shapes-flow"])
    assert unread_in(backlog, []) == {"gpu.shapes-flow": 1, "gpu.nope": 2}


def test_it_looks_once_a_minute(
    queue_scanner: QueueScanner, redis_client: redis.Redis, settings: Settings, clock: Clock
) -> None:
    queue_scanner.scan()
    redis_client.lpush("gpu.nope", "a message")
    before = scans(redis_client)
    clock.now += EVERY_S - 1
    queue_scanner.scan()
    assert (scans(redis_client), seen(redis_client, settings)) == (before, {})
    clock.now += 1
    queue_scanner.scan()
    assert (scans(redis_client), seen(redis_client, settings)) == (before + 1, {"gpu.nope": 1})


def test_many_keys_are_looked_at_in_pieces(
    queue_scanner: QueueScanner, redis_client: redis.Redis, settings: Settings
) -> None:
    redis_client.mset({f"key-{number}": "x" for number in range(10_000)})
    redis_client.lpush("gpu.nope", "a message")
    before, looks = scans(redis_client), 0
    while not seen(redis_client, settings):
        queue_scanner.scan()
        looks += 1
        assert scans(redis_client) - before == looks
    assert looks >= 9


def test_lists_however_many_are_noted_up_to_a_number(
    queue_scanner: QueueScanner, redis_client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.fleet.queue_scanner._MOST_LISTS", 5)
    for number in range(20):
        redis_client.lpush(f"gpu.nope-{number}", "a message")
    queue_scanner.scan()
    assert len(seen(redis_client, settings)) == 5


def test_redis_that_refuses_holds_up_no_reconciler(redis_client: redis.Redis, settings: Settings, clock: Clock) -> None:
    redis_client.acl_setuser("blind", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-scan"])
    try:
        with redis.Redis.from_url(settings.redis_url, username="blind", password="", decode_responses=True) as blind:
            QueueScanner(blind, settings, clock).scan()
    finally:
        redis_client.acl_deluser("blind")


def test_whoever_reconciles_looks(reconciler: Reconciler, redis_client: redis.Redis) -> None:
    assert redis_client.get(names.LISTS) == "[]"
