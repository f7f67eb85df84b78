"""A waiting job changes its place among its caller's; each script once, and repeated."""

from __future__ import annotations

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.errors import JobNotFound, JobNotQueued
from jobs.kinds.picture import Stage
from jobs.scripts.ranks import PRIORITY_RANK
from jobs.table.figures import FigureReader
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import QUEUE, MakeJob, claim, counts, let_lease_run_out, position, submit


def take(table: JobTable, job_id: str) -> tuple[bool, list[str]]:
    claimed, released = table.claim(job_id, owner="a worker", gives_way=True)
    return claimed is not None, released


def test_moved_job_is_released_next(narrow: JobTable, a_job: MakeJob) -> None:
    first, second, third, last = submit(narrow, *(a_job() for _ in range(4)))
    narrow.reprioritize(last, to_front=True)
    assert position(narrow, last) == 1
    assert take(narrow, first) == (False, [last])  # It goes before those that are released, too.
    assert take(narrow, last) == (True, [first])
    assert take(narrow, second) == (True, [third])


def test_job_that_was_released_gives_way_when_its_priority_falls(narrow: JobTable, a_job: MakeJob) -> None:
    first, second, third = submit(narrow, *(a_job() for _ in range(3)))
    assert narrow.reprioritize(first, priority="low").payload == {
        **(narrow.get(first).payload or {}),
        "priority": "low",
    }
    assert take(narrow, first) == (False, [second, third])
    assert take(narrow, second) == (True, [first])
    assert narrow.get(first).status is Status.QUEUED


def test_job_that_has_the_turn_of_another_keeps_it(table: JobTable, a_job: MakeJob) -> None:
    low, high = submit(table, a_job(priority="low"), a_job(priority="high"))
    assert take(table, low) == (False, [high, low])
    table.reprioritize(high, priority="low")
    assert take(table, high) == (True, [])


def test_job_that_has_the_turn_of_another_takes_no_further_one_when_it_is_moved(
    table: JobTable, a_job: MakeJob
) -> None:
    low, other, high = submit(table, a_job(priority="low"), a_job(priority="low"), a_job(priority="high"))
    assert take(table, low) == (False, [high, low])
    table.reprioritize(high, priority="normal")
    assert take(table, other) == (True, [])


def test_job_at_the_front_stays_there_with_another_priority(narrow: JobTable, a_job: MakeJob) -> None:
    first, second, third, last = submit(narrow, *(a_job() for _ in range(4)))
    narrow.reprioritize(last, priority="low", to_front=True)
    narrow.reprioritize(last, priority="normal")
    assert take(narrow, first) == (False, [last])
    assert position(narrow, second) is not None
    assert take(narrow, last) == (True, [first])
    assert take(narrow, second) == (True, [third])


def test_moved_job_is_of_its_priority_in_the_figures(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    for priority in PRIORITY_RANK:
        submit(table, *(a_job(priority=priority) for _ in range(2)))
    (job_id,) = submit(table, a_job(priority="low"))
    table.reprioritize(job_id, to_front=True)
    (queue,) = FigureReader(redis_client, table._settings).read().queues
    assert queue.queued == {"high": 2, "normal": 2, "low": 3}
    table.reprioritize(job_id, priority="high")
    (queue,) = FigureReader(redis_client, table._settings).read().queues
    assert queue.queued == {"high": 3, "normal": 2, "low": 2}


def test_moved_job_that_comes_back_has_its_new_place(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    first, second, third = submit(narrow, *(a_job() for _ in range(3)))
    narrow.reprioritize(first, priority="high", to_front=True)
    narrow.begin(claim(narrow, first), Stage.ENCODE)
    let_lease_run_out(redis_client, first)
    reconciler.run_once()
    assert take(narrow, second) == (False, [first])
    assert third in redis_client.zrange(names.line_key(QUEUE), 0, -1)


def test_replayed_job_has_its_new_priority_and_an_ordinary_place(
    narrow: JobTable, a_job: MakeJob, control: QueueControl, redis_client: redis.Redis
) -> None:
    *_, job_id = submit(narrow, *(a_job() for _ in range(3)))
    narrow.reprioritize(job_id, priority="low", to_front=True)
    narrow.cancel(job_id)
    assert (control.replay(job_id).payload or {})["priority"] == "low"
    turn = int(redis_client.hget(names.job_key(job_id), "turn") or 0)
    assert turn // 10**14 == PRIORITY_RANK["low"]


def test_job_that_waits_for_its_time_has_its_place_when_that_comes(table: JobTable, a_job: MakeJob) -> None:
    (job_id,) = submit(table, a_job(start_after=3_600))
    assert (table.reprioritize(job_id, priority="high").payload or {})["priority"] == "high"
    assert counts(table) == (0, 0, 0)


def test_move_under_its_nonce_again_changes_nothing(table: JobTable, a_job: MakeJob, redis_client: redis.Redis) -> None:
    one, two = submit(table, a_job(), a_job())
    spec = redis_client.hget(names.job_key(one), "spec") or ""
    args = {"job_id": one, "nonce": "a nonce", "spec": spec, "priority": "normal", "is_front": True}
    first = table._scripts.run("reprioritize", **args)
    table.reprioritize(two, to_front=True)
    again = table._scripts.run("reprioritize", **args)
    assert first[0] == again[0] == "moved"
    assert redis_client.zrange(names.queued_key(QUEUE), 0, -1) == [two, one]


def test_same_idempotency_key_finds_the_moved_job(table: JobTable, a_job: MakeJob) -> None:
    (job_id,) = submit(table, a_job(idempotency_key="k"))
    table.reprioritize(job_id, priority="high")
    assert table.submit(a_job(idempotency_key="k")).job_id == job_id


@pytest.mark.parametrize("status", ["processing", "succeeded", "canceled"])
def test_only_a_queued_job_is_moved(table: JobTable, a_job: MakeJob, status: str) -> None:
    (job_id,) = submit(table, a_job())
    if status == "canceled":
        table.cancel(job_id)
    else:
        claimed = claim(table, job_id)
        if status == "succeeded":
            table.finish(claimed, Status.SUCCEEDED)
    with pytest.raises(JobNotQueued, match=f"^job {job_id} is {status}: only a queued job"):
        table.reprioritize(job_id, to_front=True)


def test_job_that_begins_meanwhile_is_not_moved(table: JobTable, a_job: MakeJob, redis_client: redis.Redis) -> None:
    """Between the look at its record and the script."""
    (job_id,) = submit(table, a_job())
    claim(table, job_id)
    before = redis_client.hgetall(names.job_key(job_id))
    answer = table._scripts.run(
        "reprioritize", job_id=job_id, nonce="a nonce", spec="{}", priority="low", is_front=False
    )
    assert answer == ["processing"]
    assert redis_client.hgetall(names.job_key(job_id)) == before


def test_move_of_no_job_is_an_error(table: JobTable) -> None:
    with pytest.raises(JobNotFound):
        table.reprioritize("no-such-job", priority="high")
