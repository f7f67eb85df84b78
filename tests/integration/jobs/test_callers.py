"""What callers may do is looked up once in a while, for any number of names."""

from __future__ import annotations

import pytest
import redis

from jobs.process.settings import Settings
from jobs.table import callers
from jobs.table.callers import NO_LIMITS, REMEMBER_S, RESERVED_NAMES, CallerLookup
from producer.keys.store import KeyStore


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_limits_are_remembered_for_a_moment(keys: KeyStore, redis_client: redis.Redis, settings: Settings) -> None:
    clock = Clock()
    lookup = CallerLookup(redis_client, settings, clock)
    keys.create("blog", max_queued=5)
    assert lookup.find(["blog"])["blog"].max_queued == 5
    keys.update("blog", max_queued=6)
    clock.now_s += REMEMBER_S - 0.5
    assert lookup.find(["blog"])["blog"].max_queued == 5
    clock.now_s += 0.5
    assert lookup.find(["blog"])["blog"].max_queued == 6


def test_more_names_at_once_than_are_remembered(
    keys: KeyStore, redis_client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "_MOST", 2)
    keys.create("c", max_queued=5)
    found = CallerLookup(redis_client, settings).find(["a", "b", "c", "d", *RESERVED_NAMES])
    assert {name: limits for name, limits in found.items() if limits != NO_LIMITS} == {"c": found["c"]}
    assert (len(found), found["c"].max_queued) == (6, 5)
