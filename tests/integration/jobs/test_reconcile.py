"""The reconciler: what it puts right, and what it leaves alone."""

from __future__ import annotations

import pytest
import redis

from jobs import names
from jobs.broker.dispatch import Dispatcher
from jobs.broker.reconcile import Reconciled, Reconciler
from jobs.fleet.lists import list_of
from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import (
    QUEUE,
    MakeJob,
    claim,
    counts,
    let_lease_run_out,
    let_look_be_due,
    messages,
    submit,
    turn_of,
    wait_for_redis_clock,
)


@pytest.fixture
def table(redis_client: redis.Redis, settings: Settings) -> JobTable:
    return JobTable(redis_client, settings)


@pytest.fixture
def narrow(redis_client: redis.Redis, narrow_settings: Settings) -> JobTable:
    return JobTable(redis_client, narrow_settings)


def lose_worker(table: JobTable, client: redis.Redis, reconciler: Reconciler, job_id: str, stage: Stage | None) -> None:
    claimed = claim(table, job_id)
    if stage is Stage.ENCODE:
        table.begin(claimed, Stage.ENCODE)
    elif stage:
        table.progress(claimed, stage)
    let_lease_run_out(client, job_id)
    reconciler.run_once()


# Lapsed leases.


def test_job_of_a_lost_worker_waits_in_its_old_turn(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    first, _, _, fourth = submit(narrow, *(a_job() for _ in range(4)))
    claim(narrow, first)
    let_lease_run_out(redis_client, first)
    assert reconciler.run_once() == Reconciled(requeued=1)
    record = narrow.get(first)
    assert (record.status, record.stage, record.started_at) == (Status.QUEUED, None, None)
    assert (turn_of(redis_client, first) or 0) < (turn_of(redis_client, fourth) or 0)


def test_job_of_a_lost_worker_is_sent_again_at_once(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    (job_id,) = submit(table, a_job())
    claim(table, job_id)
    let_lease_run_out(redis_client, job_id)
    reconciler.run_once()
    assert messages(redis_client) == [job_id]


def test_lease_that_has_not_run_out_is_left_alone(table: JobTable, a_job: MakeJob, reconciler: Reconciler) -> None:
    claimed = claim(table, *submit(table, a_job()))
    assert reconciler.run_once() == Reconciled()
    assert table.finish(claimed, Status.SUCCEEDED).status is Status.SUCCEEDED


def test_job_is_dead_when_it_lost_its_worker_too_often(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler, settings: Settings
) -> None:
    (job_id,) = submit(table, a_job())
    for attempt in range(settings.max_attempts):
        assert table.get(job_id).attempts == attempt
        lose_worker(table, redis_client, reconciler, job_id, Stage.ENCODE)
    record = table.get(job_id)
    assert record.status is Status.FAILED
    assert record.error is not None
    assert (record.error.code, record.error.message) == (
        "worker_lost",
        "the worker died or was lost 3 times while it ran this job",
    )
    assert redis_client.zrange(names.DEAD, 0, -1) == [job_id]
    assert 0 < redis_client.ttl(names.job_key(job_id)) <= settings.retention_s
    assert counts(table) == (0, 0, 0)


def test_job_that_never_begins_is_dead_after_many_deliveries(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler, settings: Settings
) -> None:
    (job_id,) = submit(table, a_job())
    for _ in range(settings.max_deliveries):
        assert table.get(job_id).status is Status.QUEUED
        lose_worker(table, redis_client, reconciler, job_id, None)
    record = table.get(job_id)
    assert record.error is not None
    assert (record.status, record.attempts, record.error.code) == (Status.FAILED, 0, "worker_lost")
    assert record.error.message == "the job was handed out 20 times and never began"


def test_cancel_is_honoured_when_the_worker_is_lost(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    (job_id,) = submit(table, a_job())
    claim(table, job_id)
    table.cancel(job_id)
    let_lease_run_out(redis_client, job_id)
    assert reconciler.run_once() == Reconciled(canceled=1)
    assert table.get(job_id).status is Status.CANCELED
    assert table.cancel(job_id) == (Status.CANCELED, [])
    assert messages(redis_client) == []


def test_deadline_is_honoured_when_the_worker_is_lost(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    (job_id,) = submit(table, a_job(deadline=0.5))
    claimed = claim(table, job_id)
    wait_for_redis_clock(redis_client, claimed.record.created_at + 0.5)
    let_lease_run_out(redis_client, job_id)
    assert reconciler.run_once() == Reconciled(expired=1)
    record = table.get(job_id)
    assert record.error is not None
    assert (record.status, record.error.code) == (Status.EXPIRED, "deadline_exceeded")
    assert table.claim(job_id, owner="a worker") == (None, [])


# Deadlines of waiting jobs.


@pytest.mark.parametrize("deadline", ["start_deadline", "deadline"])
def test_waiting_job_expires_by_itself_and_makes_room(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler, deadline: str
) -> None:
    released, _, waiting, next_one = submit(
        narrow, a_job(**{deadline: 0.2}), a_job(), a_job(**{deadline: 0.2}), a_job()
    )
    wait_for_redis_clock(redis_client, narrow.get(waiting).created_at + 0.2)
    assert reconciler.run_once() == Reconciled(expired=2)
    for job_id in (released, waiting):
        record = narrow.get(job_id)
        assert record.error is not None
        assert record.status is Status.EXPIRED
        assert f"the {deadline} passed" in record.error.message
    assert messages(redis_client) == [next_one]
    assert counts(narrow) == (0, 2, 0)


def test_running_job_is_not_expired_behind_its_workers_back(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    (job_id,) = submit(table, a_job(start_deadline=0.2))
    claimed = claim(table, job_id)
    wait_for_redis_clock(redis_client, claimed.record.created_at + 0.2)
    assert reconciler.run_once() == Reconciled()
    assert table.finish(claimed, Status.SUCCEEDED).status is Status.SUCCEEDED


# Lost messages.


def test_lost_message_is_sent_again(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    """A submitter that died between the table and the publish, or a broker that lost its keys."""
    jobs = submit(table, *(a_job(priority=priority) for priority in ("low", "normal", "high")))
    let_look_be_due(redis_client, *jobs)
    assert reconciler.run_once() == Reconciled(resent=3)
    assert sorted(messages(redis_client)) == sorted(jobs)


def test_message_that_stands_in_the_queue_is_not_sent_again(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler, dispatcher: Dispatcher
) -> None:
    jobs = submit(table, *(a_job(priority=priority) for priority in ("low", "normal", "high")))
    dispatcher.send(jobs[:2])
    let_look_be_due(redis_client, *jobs)
    assert reconciler.run_once() == Reconciled(resent=1)
    assert sorted(messages(redis_client)) == sorted(jobs)


def test_message_of_a_job_that_was_called_up_is_sent_again_where_workers_look_first(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler, dispatcher: Dispatcher
) -> None:
    """The worker that was to send it died: the one that it had before stands in the line of all."""
    low, high = submit(table, a_job(priority="low"), a_job(priority="high"))
    dispatcher.send([low, high])
    assert redis_client.rpop(list_of(names.line_of(QUEUE), 3)) is not None
    assert table.claim(low, owner="a worker", gives_way=True) == (None, [high, low])
    let_look_be_due(redis_client, low, high)
    assert reconciler.run_once() == Reconciled(resent=2)
    assert messages(redis_client) == [high, high, low]


def test_message_is_not_looked_for_at_every_pass(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    (job_id,) = submit(table, a_job())
    assert reconciler.run_once() == Reconciled()  # Whoever released it is about to send it.
    let_look_be_due(redis_client, job_id)
    assert reconciler.run_once() == Reconciled(resent=1)
    redis_client.delete(list_of(names.line_of(QUEUE), 3))
    assert reconciler.run_once() == Reconciled()


def test_message_of_a_job_that_lost_its_worker_is_looked_for_sooner(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    """The worker that took it may be the next to die."""
    lost, other = submit(table, a_job(), a_job())
    lose_worker(table, redis_client, reconciler, lost, Stage.ENCODE)

    def due_in_s() -> tuple[float, float]:
        now_s = float(redis_client.time()[0])
        looks = [redis_client.zscore(names.released_key(QUEUE), each) or 0.0 for each in (lost, other)]
        return looks[0] - now_s, looks[1] - now_s

    assert due_in_s()[0] < 3 < due_in_s()[1]
    let_look_be_due(redis_client, lost, other)
    reconciler.run_once()
    assert due_in_s()[0] < 3 < due_in_s()[1]


def test_waiting_job_has_no_message_to_be_looked_for(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    jobs = submit(narrow, *(a_job() for _ in range(5)))
    let_look_be_due(redis_client, *jobs)
    reconciler.run_once()
    assert set(messages(redis_client)) == set(jobs[:2])


def test_garbage_in_the_queue_hides_no_lost_message(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    (job_id,) = submit(table, a_job())
    redis_client.lpush(QUEUE, "5", "no json", "{}", '{"headers": null}')
    let_look_be_due(redis_client, job_id)
    assert reconciler.run_once() == Reconciled(resent=1)


def test_job_that_only_a_newer_version_can_read_does_not_hold_others_up(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    newer, ours = submit(table, a_job(), a_job())
    redis_client.hset(names.job_key(newer), mapping={"schema": names.SCHEMA_VERSION + 1, "spec": '{"text": "new"}'})
    let_look_be_due(redis_client, newer, ours)
    reconciler.run_once()
    assert messages(redis_client) == [ours]
