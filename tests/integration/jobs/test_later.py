"""Jobs that are not to begin yet, and jobs that may not run for long."""

from __future__ import annotations

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.errors import QuotaExceeded
from jobs.process.settings import Settings
from jobs.table.claim import Verdict
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import QUEUE, MakeJob, claim, counts, messages, submit


def let_begin(client: redis.Redis, job_id: str) -> None:
    """As if its time had come."""
    client.zadd(names.later_key(QUEUE), {job_id: 1.0}, xx=True)


def test_job_begins_when_its_time_has_come_and_not_before(
    table: JobTable, a_job: MakeJob, reconciler: Reconciler, redis_client: redis.Redis
) -> None:
    (job_id,) = submit(table, a_job(start_after=3600))
    assert table.claim(job_id, owner="a worker", gives_way=True) == (None, [])
    reconciler.run_once()
    assert table.get(job_id).status is Status.QUEUED
    assert messages(redis_client) == []
    let_begin(redis_client, job_id)
    reconciler.run_once()
    assert messages(redis_client) == [job_id]
    claim(table, job_id)


def test_job_that_waits_for_its_time_is_canceled_like_any_other(
    table: JobTable, a_job: MakeJob, reconciler: Reconciler, redis_client: redis.Redis
) -> None:
    (job_id,) = submit(table, a_job(start_after=3600))
    assert table.cancel(job_id)[0] is Status.CANCELED
    let_begin(redis_client, job_id)
    reconciler.run_once()
    assert table.get(job_id).status is Status.CANCELED
    assert counts(table) == (0, 0, 0)


def test_it_counts_for_its_caller_s_quota(table: JobTable, a_job: MakeJob) -> None:
    submit(table, a_job(start_after=3600))
    (refused,) = table.submit_many([a_job(quota=1)])
    assert isinstance(refused.refused, QuotaExceeded)


@pytest.mark.parametrize("is_lost", [False, True])
def test_time_limit_counts_from_each_claim(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, is_lost: bool
) -> None:
    (job_id,) = submit(table, a_job(time_limit=3600))
    held = claim(table, job_id)
    assert table.renew([held]) == [Verdict.GO]
    redis_client.hset(names.job_key(job_id), "run_by", 1)
    assert table.renew([held]) == [Verdict.EXPIRED]
    if is_lost:
        table.give_back(held)
        assert table.renew([claim(table, job_id)]) == [Verdict.GO]


def test_due_job_is_released_at_the_next_pass_however_many_of_another_are_due(
    redis_client: redis.Redis, settings: Settings, a_job: MakeJob, reconciler: Reconciler
) -> None:
    table = JobTable(redis_client, settings)
    due: dict[str, float] = {}
    for at in range(0, 5_000, 500):
        due |= dict.fromkeys(submit(table, *(a_job(caller="many", start_after=3600) for _ in range(500))), 1.0 + at)
    (own,) = submit(table, a_job(caller="one", start_after=3600))
    redis_client.zadd(names.later_key(QUEUE), {**due, own: 6e3})
    redis_client.zadd(names.later_by_key(QUEUE, "many"), due)
    redis_client.zadd(names.later_by_key(QUEUE, "one"), {own: 6e3})
    redis_client.zadd(names.later_callers_key(QUEUE), {"many": 1.0, "one": 6e3})
    done = reconciler.run_once()
    assert own in messages(redis_client)
    assert done is not None
    assert done.has_more
    assert redis_client.zcard(names.later_key(QUEUE)) >= 4_500
    passes = 1
    while (done := reconciler.run_once()) and done.has_more:
        passes += 1
    assert passes < 5_000 / 200
    for key in (names.later_key(QUEUE), names.later_by_key(QUEUE, "many"), names.later_callers_key(QUEUE)):
        assert not redis_client.exists(key)
