"""How many messages of a queue stand in Celery: two for each slot of its living workers, and a few at least."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import redis

from jobs import names
from jobs.broker.lines import Lines
from jobs.broker.reconcile import Reconciler
from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.process.settings import Settings
from jobs.table.table import JobTable
from ops.process import wait_until
from tests.integration.jobs.steps import DEADLINE_S, QUEUE, MakeJob, counts, submit

WORKER = WorkerReport(name="worker@a", state="ready", models=("shapes-flow", "other"), slots=10)
LEAST = 8


@pytest.fixture
def fleet(redis_client: redis.Redis, settings: Settings) -> Fleet:
    return Fleet(redis_client, settings)


def released(table: JobTable, a_job: MakeJob) -> int:
    """Of a backlog of one caller."""
    submit(table, *(a_job() for _ in range(60)))
    return counts(table)[1]


def test_without_workers_a_few_are_released(table: JobTable, a_job: MakeJob) -> None:
    assert released(table, a_job) == LEAST


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ([WORKER], 20),
        ([WORKER, replace(WORKER, name="worker@b", slots=4, state="busy")], 28),
        ([replace(WORKER, slots=2)], LEAST),
        ([replace(WORKER, models=("other",))], LEAST),
        ([replace(WORKER, state="starting")], LEAST),
        ([WORKER, replace(WORKER, state="draining")], LEAST),
        ([replace(WORKER, slots=2), WORKER], 20),
    ],
    ids=["one", "two", "a small one", "another model's", "that starts", "that drains", "that has more by now"],
)
def test_two_messages_for_each_slot_of_living_workers(
    table: JobTable, fleet: Fleet, a_job: MakeJob, workers: list[WorkerReport], expected: int
) -> None:
    for each in workers:
        fleet.report(each)
    assert released(table, a_job) == expected


def test_all_callers_share_the_line(table: JobTable, fleet: Fleet, a_job: MakeJob) -> None:
    fleet.report(WORKER)
    for caller in range(50):
        submit(table, a_job(caller=f"caller-{caller}"))
    assert counts(table) == (30, 20, 0)


def test_worker_that_leaves_counts_no_more(table: JobTable, fleet: Fleet, a_job: MakeJob) -> None:
    fleet.report(WORKER)
    fleet.report(replace(WORKER, name="worker@b", slots=5))
    fleet.leave(WORKER.name)
    assert released(table, a_job) == 10


def test_worker_that_is_gone_counts_no_more_after_two_leases(
    redis_client: redis.Redis, settings: Settings, a_job: MakeJob
) -> None:
    brief = settings.model_copy(update={"lease_s": 0.5})
    fleet, table = Fleet(redis_client, brief), JobTable(redis_client, brief)
    fleet.report(WORKER)
    stays = replace(WORKER, name="worker@b", slots=5)
    probe = submit(table, a_job())[0]

    def counted() -> bool:
        fleet.report(stays)
        table.cancel(submit(table, a_job())[0])  # While none waits, each submission looks.
        return redis_client.get(names.state_key(QUEUE)) == "5 0"

    assert wait_until(counted, DEADLINE_S)
    assert table.get(probe).status == "queued"
    assert redis_client.hkeys(names.slots_key(QUEUE)) == [stays.name]


def test_slots_of_a_worker_that_reports_as_the_version_before_count_too(
    table: JobTable, fleet: Fleet, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    report = {name: value for name, value in asdict(WORKER).items() if name != "reads_lines"}
    redis_client.set(names.worker_key(WORKER.name), json.dumps(report))
    redis_client.sadd(names.WORKERS, WORKER.name)
    assert Lines(fleet).of(QUEUE) == QUEUE
    assert released(table, a_job) == 20


def test_more_slots_release_more_without_a_claim(
    table: JobTable, fleet: Fleet, a_job: MakeJob, reconciler: Reconciler
) -> None:
    assert released(table, a_job) == LEAST
    fleet.report(replace(WORKER, slots=6))
    reconciler.run_once()
    assert counts(table) == (48, 12, 0)


def test_one_script_releases_a_bounded_number_and_the_next_pass_the_rest(
    table: JobTable, fleet: Fleet, a_job: MakeJob, reconciler: Reconciler, redis_client: redis.Redis
) -> None:
    submit(table, *(a_job() for _ in range(400)))
    fleet.report(replace(WORKER, slots=150))
    reconciler.run_once()
    assert counts(table)[1] == LEAST + 256
    reconciler.run_once()
    assert counts(table)[1] == 300
