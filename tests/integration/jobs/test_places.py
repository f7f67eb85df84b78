"""Where a queued job stands, and when its turn comes."""

from __future__ import annotations

import pytest
import redis

from jobs import names
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import QUEUE, MakeJob, claim, position, submit


def test_jobs_of_one_caller_have_the_places_in_which_they_go(narrow: JobTable, a_job: MakeJob) -> None:
    normal = submit(narrow, *(a_job() for _ in range(4)))
    assert [position(narrow, job_id) for job_id in normal] == [1, 2, 3, 4]
    high = submit(narrow, a_job(priority="high"))
    # It takes the turn of the first, whose message is out.
    assert [position(narrow, job_id) for job_id in [*high, *normal]] == [1, 2, 3, 4, 5]


def test_place_moves_up_when_a_job_is_claimed(narrow: JobTable, a_job: MakeJob) -> None:
    first, *others = submit(narrow, *(a_job() for _ in range(4)))
    claim(narrow, first)
    assert position(narrow, first) is None
    assert [position(narrow, job_id) for job_id in others] == [1, 2, 3]


def test_callers_take_turns_so_that_a_backlog_counts_for_its_owner_alone(narrow: JobTable, a_job: MakeJob) -> None:
    backlog = submit(narrow, *(a_job(caller="one") for _ in range(12)))
    late = submit(narrow, *(a_job(caller="two") for _ in range(3)))
    assert [position(narrow, job_id) for job_id in late] == [3, 5, 7]
    assert position(narrow, backlog[-1]) == len(backlog) + len(late)


def test_priority_moves_nobody_before_jobs_of_others(table: JobTable, a_job: MakeJob) -> None:
    submit(table, *(a_job(caller="other") for _ in range(6)))
    low = submit(table, *(a_job(priority="low") for _ in range(3)))
    high = submit(table, *(a_job(priority="high") for _ in range(2)))
    assert [position(table, job_id) for job_id in high] == [7, 8]  # The first own message is the seventh.
    assert [position(table, job_id) for job_id in low] == [9, 10, 11]
    submit(table, *(a_job(caller="other", priority="high") for _ in range(2)))
    assert position(table, high[0]) == 7


def test_job_that_was_called_up_has_its_place_before_all(table: JobTable, a_job: MakeJob) -> None:
    others = submit(table, *(a_job(caller="other") for _ in range(2)))
    first, second, third = submit(table, *(a_job() for _ in range(3)))
    high = table.submit(a_job(priority="high")).job_id
    assert position(table, high) == 3
    table.claim(first, owner="a worker", gives_way=True)
    assert position(table, high) == 1
    assert [position(table, job_id) for job_id in others] == [2, 3]
    assert position(table, second) == 4
    assert position(table, third) is not None


def test_no_place_for_a_job_that_is_not_queued(table: JobTable, a_job: MakeJob) -> None:
    (job_id,) = submit(table, a_job())
    table.cancel(job_id)
    assert table.place(job_id) is None
    assert table.place("no-such-job") is None


def finish_one(table: JobTable, redis_client: redis.Redis, job_id: str, after_s: float) -> None:
    """As if so many seconds had passed since the end of the last one."""
    last = redis_client.hget(names.pace_key(QUEUE), "last")
    if last is not None:
        redis_client.hset(names.pace_key(QUEUE), "last", float(last) - after_s)
    table.finish(claim(table, job_id), Status.SUCCEEDED)


def test_turn_comes_at_the_pace_at_which_jobs_ended(table: JobTable, redis_client: redis.Redis, a_job: MakeJob) -> None:
    ended, waiting = [submit(table, *(a_job() for _ in range(count))) for count in (6, 3)]
    assert [table.place(job_id).starts_in_s for job_id in waiting] == [None] * 3  # type: ignore[union-attr]
    for job_id in ended:
        finish_one(table, redis_client, job_id, after_s=200)
    places = [table.place(job_id) for job_id in waiting]
    assert [place and place.starts_in_s for place in places] == pytest.approx([200, 400, 600], rel=0.05)


def test_time_in_which_nobody_waited_does_not_slow_the_pace(
    table: JobTable, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    for job_id in submit(table, *(a_job() for _ in range(4))):
        finish_one(table, redis_client, job_id, after_s=200)
    assert redis_client.hget(names.pace_key(QUEUE), "last") is None
    before = redis_client.hgetall(names.pace_key(QUEUE))
    (alone,) = submit(table, a_job())
    finish_one(table, redis_client, alone, after_s=0)
    assert redis_client.hgetall(names.pace_key(QUEUE)) == before


def test_paused_queue_promises_no_time_and_its_rest_does_not_count(
    table: JobTable, control: QueueControl, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    *ended, waits = submit(table, *(a_job() for _ in range(4)))
    for job_id in ended:
        finish_one(table, redis_client, job_id, after_s=200)
    control.pause(QUEUE)
    place = table.place(waits)
    assert place is not None
    assert (place.position, place.starts_in_s) == (1, None)
    assert redis_client.hget(names.pace_key(QUEUE), "last") is None


def test_pace_counts_an_end_once_though_it_is_written_twice(
    table: JobTable, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    first, second, _ = submit(table, *(a_job() for _ in range(3)))
    finish_one(table, redis_client, first, after_s=0)
    claimed = claim(table, second)
    for _ in range(2):
        table.finish(claimed, Status.SUCCEEDED)
    assert redis_client.hget(names.pace_key(QUEUE), "ended") == "1.000000"
