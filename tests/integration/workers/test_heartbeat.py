"""A worker that starts: seen for as long as it does, and no longer."""

from __future__ import annotations

import threading

import pytest
import redis

from jobs import names
from jobs.fleet.fleet import Fleet, WorkerReport, troubles_of
from jobs.process.settings import Settings
from ops.process import wait_until
from workers.process.reports.heartbeat import reported_while_starting

STARTING = WorkerReport(name="worker@slow", state="starting", models=("shapes-flow",))


def test_worker_that_loads_for_long_is_reported_again_and_again(redis_client: redis.Redis, settings: Settings) -> None:
    fleet = Fleet(redis_client, settings)
    with reported_while_starting(fleet, STARTING, 0.01):
        for _ in range(2):
            redis_client.delete(names.worker_key(STARTING.name))
            assert wait_until(lambda: fleet.workers() == [STARTING], 60)


def test_worker_is_reported_after_an_error_that_nobody_foresaw(
    redis_client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(redis_client, settings)
    report, failed = fleet.report, threading.Event()

    def fail_once(told: WorkerReport) -> None:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("nobody foresaw this")
        report(told)

    with reported_while_starting(fleet, STARTING, 0.01):
        monkeypatch.setattr(fleet, "report", fail_once)
        assert failed.wait(60)
        fleet.leave(STARTING.name)
        assert wait_until(lambda: fleet.workers() == [STARTING], 60)


def test_worker_that_has_started_speaks_for_itself(redis_client: redis.Redis, settings: Settings) -> None:
    fleet = Fleet(redis_client, settings)
    with reported_while_starting(fleet, STARTING, 0.01):
        pass
    assert fleet.workers() == [STARTING]


def test_worker_that_cannot_start_says_why_for_some_minutes(redis_client: redis.Redis, settings: Settings) -> None:
    fleet = Fleet(redis_client, settings)
    with pytest.raises(ValueError, match="no such model"), reported_while_starting(fleet, STARTING, 0.01):
        raise ValueError("no such model")
    (failed,) = fleet.workers()
    assert (failed.state, failed.failure) == ("failed", "ValueError: no such model")
    assert redis_client.ttl(names.worker_key(STARTING.name)) > 2 * settings.lease_s
    with reported_while_starting(fleet, STARTING, 0.01) as again:
        (shown,) = fleet.workers()
        assert (shown.state, shown.failure) == ("starting", failed.failure)
        assert troubles_of(again)[0].endswith("ValueError: no such model")


def test_worker_that_is_stopped_while_it_starts_is_gone_at_once(redis_client: redis.Redis, settings: Settings) -> None:
    fleet = Fleet(redis_client, settings)
    with pytest.raises(SystemExit), reported_while_starting(fleet, STARTING, 0.01):
        raise SystemExit(0)
    assert fleet.workers() == []
