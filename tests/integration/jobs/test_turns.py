"""A job's message is a turn of its caller's: whichever of its jobs has the best priority takes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.errors import QuotaExceeded
from jobs.process.settings import Settings
from jobs.scripts.limits import limits_of
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.claims import claim_job
from tests.integration.jobs.steps import (
    QUEUE,
    MakeJob,
    claim,
    counts,
    messages,
    position,
    submit,
    turn_of,
    wait_for_redis_clock,
)


def take_turn(table: JobTable, job_id: str) -> tuple[bool, list[str]]:
    """As a worker does with the message of a job: whether it runs it, and whose messages it sends."""
    claimed, released = table.claim(job_id, owner="a worker", gives_way=True)
    return claimed is not None, released


def test_waiting_job_of_a_better_priority_takes_the_turn_of_one_that_was_released(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    first, second, third, high = submit(narrow, a_job(), a_job(), a_job(), a_job(priority="high"))
    turn = float(narrow._redis.hget(names.job_key(first), "turn") or 0)
    assert take_turn(narrow, first) == (False, [high])
    assert counts(narrow) == (2, 2, 0)
    assert turn_of(redis_client, first) == turn
    assert take_turn(narrow, high) == (True, [first])
    assert take_turn(narrow, second) == (True, [third])


def test_released_job_of_a_better_priority_takes_an_earlier_turn(table: JobTable, a_job: MakeJob) -> None:
    low, normal, high = submit(table, a_job(priority="low"), a_job(), a_job(priority="high"))
    assert take_turn(table, low) == (False, [high, low])
    assert take_turn(table, normal) == (True, [])  # The high one has its turn, and takes no other.
    assert take_turn(table, high) == (True, [])
    assert take_turn(table, low) == (True, [])


def test_each_turn_goes_to_another_job(table: JobTable, a_job: MakeJob) -> None:
    """Several workers take messages at once, before any of those that were called up."""
    normal = submit(table, *(a_job() for _ in range(3)))
    high = submit(table, *(a_job(priority="high") for _ in range(2)))
    assert [take_turn(table, job_id) for job_id in normal] == [
        (False, [high[0], normal[0]]),
        (False, [high[1], normal[1]]),
        (True, []),
    ]


def test_job_that_was_called_up_gives_way_to_a_still_better_one(table: JobTable, a_job: MakeJob) -> None:
    low, normal = submit(table, a_job(priority="low"), a_job())
    assert take_turn(table, low) == (False, [normal, low])
    (high,) = submit(table, a_job(priority="high"))
    assert take_turn(table, normal) == (False, [high, normal])


def test_equal_priorities_and_other_callers_and_queues_take_no_turn(table: JobTable, a_job: MakeJob) -> None:
    (low,) = submit(table, a_job(priority="low"))
    submit(table, a_job(priority="low"), a_job(caller="other", priority="high"))
    submit(table, replace(a_job(priority="high"), queue="gpu.other"))
    assert take_turn(table, low) == (True, [])


def test_job_whose_sender_waits_for_its_message_gives_way_to_none(table: JobTable, a_job: MakeJob) -> None:
    (low,) = submit(table, a_job(priority="low"))
    submit(table, a_job(priority="high"))
    claim_job(table, low)


def test_message_too_many_of_a_waiting_job_is_no_turn(narrow: JobTable, a_job: MakeJob) -> None:
    first, _, third = submit(narrow, a_job(), a_job(), a_job())
    assert take_turn(narrow, third) == (False, [])
    assert counts(narrow) == (1, 2, 0)
    assert take_turn(narrow, first) == (True, [third])
    assert take_turn(narrow, third) == (True, [])


def test_late_job_expires_and_gives_no_turn(narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis) -> None:
    first, _, third = submit(narrow, a_job(start_deadline=0.001), a_job(), a_job(priority="high"))
    wait_for_redis_clock(redis_client, narrow.get(first).created_at + 0.001)
    assert take_turn(narrow, first) == (False, [third])
    assert narrow.get(first).status is Status.EXPIRED


def test_paused_queue_calls_nobody_up(narrow: JobTable, control: QueueControl, a_job: MakeJob) -> None:
    first, _, high = submit(narrow, a_job(), a_job(), a_job(priority="high"))
    control.pause(QUEUE)
    assert take_turn(narrow, first) == (False, [])
    assert counts(narrow) == (2, 1, 0)
    control.resume(QUEUE)
    assert position(narrow, high) is not None
    assert counts(narrow) == (1, 2, 0)


def test_turn_of_a_job_that_comes_back_is_paid_back(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    first, *_ = submit(narrow, *(a_job(caller="one") for _ in range(5)))
    (large,) = submit(narrow, replace(a_job(caller="another"), cost=3.0))
    claim(narrow, first)
    held = claim(narrow, large)
    assert paid(redis_client, "another") == pytest.approx(3, abs=0.01)
    narrow.give_back(held)
    assert paid(redis_client, "another") == pytest.approx(0, abs=0.01)


def test_job_that_is_called_up_before_its_release_is_paid_for(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    low, *_ = submit(narrow, *(a_job(priority="low") for _ in range(3)))
    (high,) = submit(narrow, replace(a_job(priority="high"), cost=3.0))
    before = paid(redis_client, "default")
    assert take_turn(narrow, low) == (False, [high])
    assert paid(redis_client, "default") == pytest.approx(before + 3)


def test_caller_whose_turn_is_next_gets_back_what_it_paid(
    narrow: JobTable, control: QueueControl, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    before = submit(narrow, *(a_job(caller="before") for _ in range(2)))
    large, *_ = submit(narrow, replace(a_job(caller="one"), cost=40.0), *(a_job(caller="one") for _ in range(3)))
    submit(narrow, *(replace(a_job(caller="another"), cost=50.0) for _ in range(3)))
    for job_id in before:
        claim(narrow, job_id)
    assert (paid(redis_client, "one"), paid(redis_client, "another")) == (40, 50)
    control.pause(QUEUE)
    narrow.cancel(large)
    assert paid(redis_client, "one") == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("is_claimed", [False, True])
def test_job_whose_turn_cost_nothing_pays_nothing_back(
    narrow: JobTable, control: QueueControl, a_job: MakeJob, redis_client: redis.Redis, is_claimed: bool
) -> None:
    """It was released at once, for nobody waited."""
    free, other = submit(narrow, *(a_job(caller="one") for _ in range(2)))
    submit(narrow, *(a_job(caller="one") for _ in range(4)))
    claim(narrow, other)
    assert paid(redis_client, "one") == 1
    control.pause(QUEUE)
    if is_claimed:
        control.resume(QUEUE)
        held = claim(narrow, free)
        assert paid(redis_client, "one") == 2
        control.pause(QUEUE)
        narrow.give_back(held)
    else:
        narrow.cancel(free)
    assert paid(redis_client, "one") == 1 + is_claimed


def paid(client: redis.Redis, caller: str) -> float:
    """What a caller has had of the device whose jobs wait, or have waited."""
    scores = [client.zscore(key(QUEUE), caller) for key in (names.shares_key, names.gone_key)]
    score = next(each for each in scores if each is not None)
    return max(0.0, float(score))  # A newcomer has had nothing.


def test_repeated_claim_tells_again_whom_to_send_for_though_the_job_runs_by_now(
    table: JobTable, a_job: MakeJob, settings: Settings
) -> None:
    low, high = submit(table, a_job(priority="low"), a_job(priority="high"))

    def claim_low() -> list[Any]:
        args = {"job_id": low, "owner": "a worker", "token": "a token"}
        return list(table._scripts.run("claim", gives_way=True, lease_s=8, **args, **limits_of(settings)))

    first = claim_low()
    assert take_turn(table, high)[0]
    assert take_turn(table, low)[0]
    assert claim_low() == first == ["refused", f'["{high}","{low}"]', "overtaken"]


def test_canceled_job_that_was_called_up_leaves_room(narrow: JobTable, a_job: MakeJob) -> None:
    first, _, high = submit(narrow, a_job(), a_job(), a_job(priority="high"))
    assert take_turn(narrow, first) == (False, [high])
    assert narrow.cancel(high) == (Status.CANCELED, [first])
    assert take_turn(narrow, first) == (True, [])


# What the version before left.


def before_this_version(client: redis.Redis, jobs: dict[str, int]) -> None:
    """What the version before would have left of these jobs, released and sent, each with its rank."""
    caller = "default"
    for number, (job_id, rank) in enumerate(jobs.items()):
        client.sadd(f"imagemill:window:{QUEUE}:{caller}", job_id)
        client.zadd(names.line_key(QUEUE), {job_id: rank * 10**14 + number})
    client.delete(names.turns_key(QUEUE, caller))
    client.hdel("imagemill:server", "has_turns")


def test_jobs_that_the_version_before_released_get_turns_and_none_stays_in_its_last_line(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    wide = JobTable(redis_client, narrow._settings.model_copy(update={"release_window": 3}))
    low, normal, high = submit(wide, *(a_job(priority=priority) for priority in ("low", "normal", "high")))
    before_this_version(redis_client, {high: 0, normal: 3, low: 6})
    reconciler.run_once()
    assert redis_client.keys("imagemill:window:*") == []
    # The best one's message stands where workers look first already: it needs no other's turn.
    assert redis_client.zrange(names.turns_key(QUEUE, "default"), 0, -1) == [normal, low, high]
    assert low in messages(redis_client)
    assert [position(wide, job_id) for job_id in (high, normal, low)] == [1, 2, 3]
    with pytest.raises(QuotaExceeded):
        wide.submit(replace(a_job(), quota=3))


def test_jobs_that_the_version_before_released_can_be_claimed_and_canceled_before_any_pass(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    low, normal, high = submit(table, *(a_job(priority=priority) for priority in ("low", "normal", "high")))
    before_this_version(redis_client, {high: 0, normal: 3, low: 6})
    assert table.cancel(normal) == (Status.CANCELED, [])
    claimed, _ = table.claim(high, owner="a worker", gives_way=True)
    assert claimed is not None
    assert counts(table) == (0, 1, 1)
    assert position(table, low) == 1
    reconciler.run_once()
    assert redis_client.zrange(names.turns_key(QUEUE, "default"), 0, -1) == [low]
