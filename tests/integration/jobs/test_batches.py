"""Batches: counted at each change, whatever is sent twice, and canceled as one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from jobs import names
from jobs.broker.dispatch import Dispatcher
from jobs.broker.reconcile import Reconciler
from jobs.errors import BatchCanceled, BatchNotFound
from jobs.process.settings import Settings
from jobs.table.batches import Batches, BatchRecord
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.submission import BatchLine, Submission
from jobs.table.table import JobTable
from tests.integration.jobs.steps import MakeJob, claim, counts, messages, submit

BATCH = "a-batch"


@pytest.fixture
def batches(connection: redis.Redis, narrow: JobTable, dispatcher: Dispatcher, narrow_settings: Settings) -> Batches:
    batches = Batches(connection, narrow, dispatcher.offer, narrow_settings)
    batches.open(BATCH, "default")
    return batches


def lines(a_job: MakeJob, count: int) -> list[Submission]:
    jobs = [a_job() for _ in range(count)]
    return [replace(job, batch=BatchLine(batch_id=BATCH, line=n, custom_id=f"c{n}")) for n, job in enumerate(jobs, 1)]


def counted(record: BatchRecord) -> dict[str, int]:
    return {status: count for status, count in record.counts.items() if count}


def test_batch_counts_its_jobs_by_status(narrow: JobTable, batches: Batches, a_job: MakeJob) -> None:
    first, second, third = submit(narrow, *lines(a_job, 3))
    submit(narrow, a_job())
    assert counted(batches.get(BATCH)) == {"queued": 3}
    running = claim(narrow, first)
    narrow.cancel(second)
    assert counted(batches.get(BATCH)) == {"queued": 1, "processing": 1, "canceled": 1}
    narrow.finish(running, Status.SUCCEEDED)
    narrow.give_back(claim(narrow, third))
    record = batches.get(BATCH)
    assert counted(record) == {"queued": 1, "canceled": 1, "succeeded": 1}
    assert (record.total, record.has_ended, record.caller) == (3, False, "default")
    narrow.cancel(third)
    assert batches.get(BATCH).has_ended


def test_submitting_a_batch_again_counts_nothing_twice(narrow: JobTable, batches: Batches, a_job: MakeJob) -> None:
    jobs = [replace(a_job(idempotency_key=f"k{n}"), batch=BatchLine(batch_id=BATCH, line=n)) for n in range(3)]
    submit(narrow, *jobs)
    again = narrow.submit_many([replace(job, job_id=f"again-{n}") for n, job in enumerate(jobs)])
    assert [each.job_id for each in again] == [job.job_id for job in jobs]
    assert all(each.is_replayed for each in again)
    assert batches.get(BATCH).total == 3


def test_refused_lines_count_once(batches: Batches) -> None:
    for _ in range(2):
        batches.open(BATCH, "default", [2, 7, 100_000])
    assert batches.get(BATCH).refused == 3


def test_records_come_by_line_with_their_own_names(
    narrow: JobTable, batches: Batches, a_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.table.batches._RECORDS", 2)
    jobs = lines(a_job, 3)
    submit(narrow, *reversed(jobs))
    page, behind = batches.records(BATCH)
    rest, end = batches.records(BATCH, behind or 0)
    found = [*page, *rest]
    assert [(line, each.id, each.custom_id) for line, each in found] == [
        (n, job.job_id, f"c{n}") for n, job in enumerate(jobs, 1)
    ]
    assert {each.batch for _, each in found} == {BATCH}
    assert (behind, end) == (2, None)


def test_canceled_batch_ends_its_jobs_and_takes_no_more(
    narrow: JobTable, batches: Batches, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    first, *others = lines(a_job, 6)
    submit(narrow, first, *others[:4])
    running = claim(narrow, first.job_id)
    (neighbour,) = submit(narrow, a_job())
    record = batches.cancel(BATCH)
    assert counted(record) == {"processing": 1, "canceled": 4}
    assert record.is_canceled
    assert narrow.renew([running]) == ["cancel"]
    assert counts(narrow) == (0, 1, 1)
    # None of the batch's own was released on the way, only the one behind them.
    assert set(messages(redis_client)) == {neighbour}
    with pytest.raises(BatchCanceled):
        narrow.submit(others[4])
    assert batches.get(BATCH).total == 5


def test_large_batch_is_canceled_some_at_a_time_and_to_its_end(
    narrow: JobTable,
    batches: Batches,
    redis_client: redis.Redis,
    reconciler: Reconciler,
    a_job: MakeJob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jobs.table.batches._PAGE", 20)
    jobs = lines(a_job, 700)
    submit(narrow, *jobs)
    running = claim(narrow, jobs[0].job_id)
    (neighbour,) = submit(narrow, a_job())
    record = batches.cancel(BATCH)
    assert counted(record) == {"processing": 1, "queued": 619, "canceled": 80}
    assert (record.is_canceled, record.has_ended) == (True, False)
    with pytest.raises(BatchCanceled):
        narrow.submit(replace(a_job(), batch=BatchLine(batch_id=BATCH, line=701)))
    left = []
    while (done := reconciler.run_once()) and done.has_more:
        left.append(batches.get(BATCH).counts[Status.QUEUED])
    assert len(left) >= 2  # No pass does all.
    assert counted(batches.get(BATCH)) == {"processing": 1, "canceled": 699}
    assert narrow.renew([running]) == ["cancel"]
    assert set(messages(redis_client)) <= {neighbour, jobs[1].job_id, jobs[2].job_id}
    assert redis_client.zcard(names.CANCELING) == 0
    assert "cancel_from" not in redis_client.hgetall(names.batch_key(BATCH))


def test_batches_that_are_canceled_have_a_part_of_each_pass(
    narrow: JobTable, batches: Batches, reconciler: Reconciler, a_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.table.batches._PAGE", 1)
    submit(narrow, *lines(a_job, 1_000))
    batches.open("another", "another")
    submit(
        narrow, *(replace(each, batch=BatchLine(batch_id="another", line=n)) for n, each in enumerate(lines(a_job, 9)))
    )
    batches.cancel(BATCH)
    batches.cancel("another")
    reconciler.run_once()
    assert batches.get("another").has_ended
    assert not batches.get(BATCH).has_ended


def test_batch_expires_with_its_last_job_and_not_before(
    narrow: JobTable, batches: Batches, control: QueueControl, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    keys = [names.batch_key(BATCH), names.batch_jobs_key(BATCH), names.batch_refused_key(BATCH)]
    batches.open(BATCH, "default", [9])
    assert redis_client.ttl(keys[0]) > 0
    first, second = submit(narrow, *lines(a_job, 2))
    narrow.cancel(first)
    assert [redis_client.ttl(key) for key in keys] == [-1] * 3
    narrow.cancel(second)
    assert all(redis_client.ttl(key) > 0 for key in keys)
    control.replay(first)
    assert [redis_client.ttl(key) for key in keys] == [-1] * 3


def test_batch_that_is_not_there(batches: Batches, redis_client: redis.Redis) -> None:
    for ask in (batches.get, batches.cancel):
        with pytest.raises(BatchNotFound, match="no-such-batch"):
            ask("no-such-batch")
    assert not redis_client.exists(names.batch_key("no-such-batch"))
