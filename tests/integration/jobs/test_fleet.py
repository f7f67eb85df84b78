"""What workers say of themselves, on a real server."""

from __future__ import annotations

import redis

from jobs import names
from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.process.settings import Settings

BUSY = WorkerReport(
    name="worker@b", state="busy", models=("shapes-flow",), jobs=("one", "two"), slots=6, started_at=1_700_000_000.5
)
STARTING = WorkerReport(name="worker@a", state="starting")


def test_workers_are_listed_by_name_as_they_said(redis_client: redis.Redis, settings: Settings) -> None:
    fleet = Fleet(redis_client, settings)
    assert fleet.workers() == []
    for report in (BUSY, STARTING):
        fleet.report(report)
    assert fleet.workers() == [STARTING, BUSY]


def test_later_report_replaces_the_earlier(redis_client: redis.Redis, settings: Settings) -> None:
    fleet = Fleet(redis_client, settings)
    fleet.report(WorkerReport(name=BUSY.name, state="ready"))
    fleet.report(BUSY)
    assert fleet.workers() == [BUSY]


def test_worker_that_says_nothing_is_gone_after_two_leases(redis_client: redis.Redis, settings: Settings) -> None:
    fleet = Fleet(redis_client, settings)
    for report, most_s in ((BUSY, 2 * settings.lease_s), (STARTING, 30)):
        fleet.report(report)
        assert settings.lease_s < redis_client.ttl(names.worker_key(report.name)) <= most_s


def test_worker_that_leaves_is_gone_at_once(redis_client: redis.Redis, settings: Settings) -> None:
    fleet = Fleet(redis_client, settings)
    fleet.report(BUSY)
    fleet.leave(BUSY.name)
    fleet.leave(BUSY.name)
    assert fleet.workers() == []


def test_report_of_a_newer_version_is_read_as_far_as_it_is_known(redis_client: redis.Redis, settings: Settings) -> None:
    redis_client.sadd(names.WORKERS, "worker@new")
    redis_client.set(names.worker_key("worker@new"), '{"name": "worker@new", "state": "ready", "mood": "good"}')
    found = Fleet(redis_client, settings).workers()
    assert found == [WorkerReport(name="worker@new", state="ready", known_schema=1, reads_lines=False)]
