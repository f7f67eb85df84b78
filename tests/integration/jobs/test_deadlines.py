"""Deadlines of waiting jobs: of each caller some at a pass, so that nobody's wait behind all of another's."""

from __future__ import annotations

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.process.settings import Settings
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import MakeJob, claim, submit, wait_for_redis_clock

MANY = 2_000


@pytest.fixture
def once(redis_client: redis.Redis, narrow_settings: Settings) -> JobTable:
    return JobTable(redis_client, narrow_settings)


def test_deadline_is_noticed_within_two_passes_however_many_of_another_have_passed(
    once: JobTable, redis_client: redis.Redis, reconciler: Reconciler, a_job: MakeJob
) -> None:
    many = submit(once, *(a_job(caller="one", deadline=0.001) for _ in range(MANY)))
    few = submit(once, *(a_job(caller="two", deadline=0.001) for _ in range(3)))
    wait_for_redis_clock(redis_client, once.get(few[-1]).created_at + 0.01)
    for _ in range(2):
        done = reconciler.run_once()
        assert done is not None
        assert done.expired <= 256  # No longer a pass than before.
    assert {once.get(job_id).status for job_id in few} == {Status.EXPIRED}
    while (done := reconciler.run_once()) and done.has_more:
        pass
    assert set(once.statuses(many)) == {Status.EXPIRED}
    assert redis_client.keys("imagemill:deadline*") == []


def test_each_of_many_callers_with_backlogs_has_a_part(
    once: JobTable, redis_client: redis.Redis, reconciler: Reconciler, a_job: MakeJob
) -> None:
    callers = [f"caller-{number}" for number in range(20)]
    ids = {caller: submit(once, *(a_job(caller=caller, deadline=0.001) for _ in range(60))) for caller in callers}
    wait_for_redis_clock(redis_client, once.get(ids[callers[-1]][-1]).created_at + 0.01)
    for _ in range(2):
        reconciler.run_once()
    for caller in callers:
        assert Status.EXPIRED in once.statuses(ids[caller])


def test_caller_who_has_had_a_part_comes_again_behind_the_others(
    once: JobTable,
    redis_client: redis.Redis,
    reconciler: Reconciler,
    a_job: MakeJob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jobs.broker.reconcile._MOST_AT_A_TIME", 16)
    callers = [f"caller-{number}" for number in range(40)]
    ids = {caller: submit(once, *(a_job(caller=caller, deadline=0.001) for _ in range(10))) for caller in callers}
    wait_for_redis_clock(redis_client, once.get(ids[callers[-1]][-1]).created_at + 0.01)
    for _ in range(4):  # Each has room for sixteen.
        reconciler.run_once()
    assert [caller for caller in callers if Status.EXPIRED not in once.statuses(ids[caller])] == []


@pytest.mark.parametrize("way", ["claimed", "canceled"])
def test_job_that_does_not_wait_any_more_has_no_deadline_to_look_for(
    narrow: JobTable, redis_client: redis.Redis, a_job: MakeJob, way: str
) -> None:
    (job_id,) = submit(narrow, a_job(deadline=3600))
    assert redis_client.zrange(names.deadlines_by_key("default"), 0, -1) == [job_id]
    if way == "claimed":
        claim(narrow, job_id)
    else:
        narrow.cancel(job_id)
    assert redis_client.exists(names.deadlines_by_key("default"), names.DEADLINES) == 0


def test_deadline_that_an_earlier_version_noted_is_noticed(
    narrow: JobTable, redis_client: redis.Redis, reconciler: Reconciler, a_job: MakeJob
) -> None:
    (job_id,) = submit(narrow, a_job(deadline=0.001))
    redis_client.delete(names.deadlines_by_key("default"), names.DEADLINE_CALLERS)
    wait_for_redis_clock(redis_client, narrow.get(job_id).created_at + 0.01)
    reconciler.run_once()
    assert narrow.get(job_id).status is Status.EXPIRED
    assert redis_client.zcard(names.DEADLINES) == 0


def test_job_that_an_earlier_version_replayed_has_its_new_deadline(
    narrow: JobTable, control: QueueControl, redis_client: redis.Redis, reconciler: Reconciler, a_job: MakeJob
) -> None:
    (job_id,) = submit(narrow, a_job(deadline=3600))
    narrow.cancel(job_id)
    control.replay(job_id)
    due = redis_client.zscore(names.DEADLINES, job_id)
    redis_client.zadd(names.deadlines_by_key("default"), {job_id: 1.0})
    redis_client.zadd(names.DEADLINE_CALLERS, {"default": 1.0})
    for _ in range(2):
        reconciler.run_once()
    assert narrow.get(job_id).status is Status.QUEUED
    assert redis_client.zscore(names.DEADLINES, job_id) == due
    assert redis_client.zscore(names.deadlines_by_key("default"), job_id) == due
