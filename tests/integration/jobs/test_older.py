"""A process of this version does not start beside one of a version that it must not run beside."""

from __future__ import annotations

import json
import threading

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.errors import OlderVersionRuns
from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.process.settings import Settings
from jobs.table.older import wait_for_older_to_go

BRIEF_S = 0.4


@pytest.fixture
def brief(settings: Settings) -> Settings:
    return settings.model_copy(update={"lease_s": BRIEF_S})


def report_of_the_first_version(client: redis.Redis, state: str) -> None:
    report = {
        "name": "worker@old",
        "state": state,
        "models": ["shapes-flow"],
        "jobs": [],
        "slots": 4,
        "started_at": 1.0,
    }
    client.set(names.worker_key("worker@old"), json.dumps(report))
    client.sadd(names.WORKERS, "worker@old")


@pytest.mark.parametrize("state", ["ready", "busy", "draining"])
def test_worker_of_the_first_version_is_named(redis_client: redis.Redis, brief: Settings, state: str) -> None:
    report_of_the_first_version(redis_client, state)
    with pytest.raises(OlderVersionRuns, match="worker@old of an older version uses this Redis: stop all"):
        wait_for_older_to_go(redis_client, brief)


def test_process_of_the_first_version_is_known_by_its_lock(redis_client: redis.Redis, brief: Settings) -> None:
    redis_client.set(names.RECONCILER, "dbd3cf4b214d4fe4")
    with pytest.raises(OlderVersionRuns, match=r"^a worker or an API process of an older version"):
        wait_for_older_to_go(redis_client, brief)


def test_one_that_goes_is_waited_for(redis_client: redis.Redis, settings: Settings) -> None:
    report_of_the_first_version(redis_client, "ready")
    done = threading.Event()

    def wait() -> None:
        wait_for_older_to_go(redis_client, settings)
        done.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert not done.wait(0.3)
    redis_client.delete(names.worker_key("worker@old"))
    assert done.wait(60)


def test_those_of_this_version_and_of_newer_ones_are_no_matter(
    redis_client: redis.Redis, brief: Settings, reconciler: Reconciler
) -> None:
    assert reconciler.run_once() is not None
    Fleet(redis_client, brief).report(WorkerReport(name="worker@ours", state="ready"))
    newer = {"name": "worker@newer", "state": "dreaming", "version": "9.0.0"}
    redis_client.set(names.worker_key("worker@newer"), json.dumps(newer))
    redis_client.sadd(names.WORKERS, "worker@newer")
    wait_for_older_to_go(redis_client, brief)


def test_one_that_was_killed_while_it_started_is_no_matter(redis_client: redis.Redis, brief: Settings) -> None:
    report_of_the_first_version(redis_client, "starting")
    wait_for_older_to_go(redis_client, brief)
