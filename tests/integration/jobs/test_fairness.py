"""Callers share a queue by what their jobs take of the device, and none waits behind another's backlog."""

from __future__ import annotations

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.process.settings import Settings
from jobs.table.queues import QueueControl
from jobs.table.submission import Submission
from jobs.table.table import JobTable
from tests.integration.jobs.floor import JOB_S, Floor
from tests.integration.jobs.steps import (
    QUEUE,
    MakeJob,
    claim,
    counts,
    let_look_be_due,
    line,
    messages,
    position,
    submit,
)

SLOTS = 4
LINE = 2 * SLOTS
TOLERANCE = 0.1
MANY = pytest.param(1_000, marks=pytest.mark.long)  # callers


@pytest.fixture
def table(redis_client: redis.Redis, settings: Settings) -> JobTable:
    return JobTable(redis_client, settings)


@pytest.fixture
def floor(table: JobTable) -> Floor:
    return Floor(table, SLOTS)


def flood(floor: Floor, a_job: MakeJob, callers: int, priority: str) -> None:
    jobs_each = max(3, 300 // callers)
    jobs = [a_job(caller=f"flood-{n}", priority=priority) for n in range(callers) for _ in range(jobs_each)]
    floor.submit(*jobs)


def alike(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE * max(one, other)


@pytest.mark.parametrize("own_jobs", [1, 5])
@pytest.mark.parametrize("begun", [0, 40], ids=["nothing has begun", "turns are being taken"])
@pytest.mark.parametrize("callers", [1, 10, MANY])
def test_first_job_waits_for_what_was_released_before_it_and_for_no_backlog(
    floor: Floor, a_job: MakeJob, callers: int, begun: int, own_jobs: int
) -> None:
    flood(floor, a_job, callers, priority="high")
    floor.run_for(begun)
    stood, began = floor.standing, len(floor.began_s)
    # Who has more to come than one job waits for the first ones of those who came before and have more, too.
    firsts = callers - len(set(floor.order)) if own_jobs > 1 else 0
    own = floor.submit(*(a_job(caller="one", priority="low") for _ in range(own_jobs)))
    assert stood <= LINE
    waited_s = floor.run_until_begun(own[0])
    before = stood + firsts + firsts // LINE + (own_jobs > 1)  # One of another's backlog for each line of first jobs.
    assert len(floor.began_s) - began - 1 <= before
    assert waited_s <= (before / SLOTS + 1) * JOB_S


@pytest.mark.parametrize("callers", [10, MANY])
def test_each_of_many_who_come_at_once_has_a_first_job_before_any_has_a_second(
    floor: Floor, a_job: MakeJob, callers: int
) -> None:
    floor.submit(*(a_job(caller="flood") for _ in range(200)))
    floor.submit(*(a_job(caller=f"one-{n}") for n in range(callers)))
    floor.run_until(lambda: len(set(floor.order)) == callers + 1)
    theirs = [each for each in floor.order if each != "flood"]
    assert theirs == [f"one-{n}" for n in range(callers)]  # Who waits with a single job is served as he came.
    # A backlog has a turn for each line of first jobs, so that these keep nobody waiting for ever.
    assert len(floor.order) - len(theirs) <= LINE + 1 + callers // LINE


def test_stream_of_new_callers_keeps_nobody_waiting(
    floor: Floor, table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    """Neither one who has two jobs, nor a backlog: for each job that begins, another caller comes with one."""
    floor.submit(*(a_job(caller="flood") for _ in range(50)))
    _, second = floor.submit(*(a_job(caller="two-jobs") for _ in range(2)))
    began = 0
    while second not in floor.began_s:
        began = len(floor.began_s)
        assert began < 10 * LINE
        floor.submit(a_job(caller=f"new-{began}"))
        floor.run_for(1)
    assert floor.order.index("two-jobs") <= 3 * LINE
    floor.order.clear()
    for number in range(3 * (LINE + 1)):
        floor.submit(a_job(caller=f"newer-{number}"))
        floor.run_for(1)
    assert floor.order.count("flood") >= 3


def test_callers_with_two_jobs_each_have_their_first_in_the_order_in_which_they_came(
    floor: Floor, a_job: MakeJob
) -> None:
    floor.submit(*(a_job(caller="flood") for _ in range(50)))
    for number in range(100):
        floor.submit(*(a_job(caller=f"two-jobs-{number}") for _ in range(2)))
    floor.run_for(LINE + 120)
    theirs = [each for each in floor.order if each != "flood"]
    assert list(dict.fromkeys(theirs)) == [f"two-jobs-{number}" for number in range(100)]


@pytest.mark.parametrize("priorities", [("high", "low"), ("low", "high"), ("normal", "normal")])
def test_priority_of_one_caller_does_not_pass_the_jobs_of_another(
    floor: Floor, a_job: MakeJob, priorities: tuple[str, str]
) -> None:
    for caller, priority in zip(("one", "two"), priorities, strict=True):
        floor.submit(*(a_job(caller=caller, priority=priority) for _ in range(100)))
    floor.let_line_go()
    floor.run_for(100)
    assert alike(floor.used_s["one"], floor.used_s["two"])


@pytest.mark.parametrize("order", [("large", "small"), ("small", "large")], ids="-".join)
@pytest.mark.parametrize(
    ("large", "small_jobs"),
    [
        ({"n": 4, "num_inference_steps": 20}, 700),
        pytest.param({"n": 16, "num_inference_steps": 50}, 6_000, marks=pytest.mark.long),
    ],
    ids=["4 times 20", "16 times 50"],
)
def test_large_and_small_jobs_get_equal_time_of_the_device(
    table: JobTable, a_job: MakeJob, order: tuple[str, str], large: dict[str, int], small_jobs: int
) -> None:
    floor = Floor(table, slots=1)
    fields = {"large": large, "small": {"n": 1, "num_inference_steps": 4}}
    jobs = {"large": 40, "small": small_jobs}
    for caller in order:
        floor.submit(*(a_job(caller=caller, **fields[caller]) for _ in range(jobs[caller])))
    floor.let_line_go()
    cost = a_job(**large).cost
    floor.run_until(lambda: floor.used_s["large"] >= 25 * cost * JOB_S)
    assert floor.order.count("small") < jobs["small"]
    assert alike(floor.used_s["large"], floor.used_s["small"])


@pytest.mark.parametrize(
    ("field", "value", "times"), [("n", 2, 2), ("num_inference_steps", 16, 2), ("width", 192, 1.5)]
)
def test_whatever_makes_a_job_larger_is_paid_for(
    floor: Floor, a_job: MakeJob, field: str, value: int, times: float
) -> None:
    floor.submit(*(a_job(caller="one", **{field: value}) for _ in range(100)))
    floor.submit(*(a_job(caller="two") for _ in range(200)))
    floor.let_line_go()
    floor.run_for(120)
    assert alike(floor.used_s["one"], floor.used_s["two"])
    assert alike(floor.order.count("two"), times * floor.order.count("one"))


def test_weight_of_two_gets_twice_as_much(floor: Floor, a_job: MakeJob) -> None:
    for caller, weight in (("heavy", 2.0), ("light", 1.0), ("half", 0.5)):
        floor.submit(*(a_job(caller=caller, weight=weight) for _ in range(200)))
    floor.let_line_go()
    floor.run_for(210)
    assert alike(floor.used_s["heavy"], 2 * floor.used_s["light"])
    assert alike(floor.used_s["light"], 2 * floor.used_s["half"])


@pytest.mark.parametrize("at_once", [1, 5])
@pytest.mark.parametrize("n", [1, 8])
def test_who_comes_and_goes_gains_nothing_by_it(floor: Floor, a_job: MakeJob, at_once: int, n: int) -> None:
    floor.submit(*(a_job(caller="stays") for _ in range(600)))
    floor.run_for(20)
    since_s = floor.used_s["stays"]
    while floor.used_s["stays"] - since_s < 300 * JOB_S:
        own = floor.submit(*(a_job(caller="comes-and-goes", n=n) for _ in range(at_once)))
        floor.run_until(lambda own=own: all(each in floor.began_s for each in own))  # type: ignore[misc]
    most = (1 + TOLERANCE) * (floor.used_s["stays"] - since_s) + at_once * n * JOB_S
    assert floor.used_s["comes-and-goes"] <= most


def test_who_cancels_what_was_released_gains_nothing_and_loses_nothing(
    table: JobTable, floor: Floor, a_job: MakeJob
) -> None:
    floor.submit(*(a_job(caller="stays") for _ in range(400)))
    floor.submit(*(a_job(caller="cancels") for _ in range(400)))
    for _ in range(60):
        floor.run_for(2)
        released = table.outgoing(line(table._redis))
        theirs = [record.id for record, _ in released if record.caller == "cancels"]
        if theirs:
            floor.send(table.cancel(theirs[-1])[1])
    assert floor.used_s["cancels"] <= (1 + TOLERANCE) * floor.used_s["stays"]


def test_who_cancels_all_that_is_released_keeps_nobody_waiting(
    redis_client: redis.Redis, narrow_settings: Settings, a_job: MakeJob
) -> None:
    table = JobTable(redis_client, narrow_settings)
    for caller, jobs in (("fills", 2), ("cancels", 100), ("waits", 3)):
        submit(table, *(a_job(caller=caller) for _ in range(jobs)))
    began: list[str] = []
    for _ in range(60):
        (next_one, *_) = table.get_many(line(redis_client)[:1])
        if next_one.caller == "cancels":
            table.cancel(next_one.id)
        else:
            began.append(claim(table, next_one.id).record.caller)
    assert began.count("waits") == 3


def test_nothing_is_kept_of_callers_when_nobody_waits(floor: Floor, a_job: MakeJob, redis_client: redis.Redis) -> None:
    flood(floor, a_job, 100, priority="normal")
    floor.run_until(lambda: len(floor.began_s) == 300)
    floor.submit(a_job(caller="last"))
    floor.run_until(lambda: len(floor.began_s) == 301)
    for key in (names.shares_key, names.callers_key, names.gone_key, names.front_key):
        assert not redis_client.exists(key(QUEUE))


def test_callers_who_came_once_are_forgotten_while_others_wait(
    floor: Floor, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    floor.submit(*(a_job(caller="stays") for _ in range(400)))
    for number in range(100):
        floor.submit(a_job(caller=f"once-{number}"))
        floor.run_for(2)
    assert redis_client.zrange(names.shares_key(QUEUE), 0, -1) == ["stays"]
    reconciler.run_once()
    assert redis_client.zcard(names.gone_key(QUEUE)) <= 2 * LINE


def test_resumed_queue_goes_on_in_turn(
    floor: Floor, table: JobTable, a_job: MakeJob, control: QueueControl, redis_client: redis.Redis
) -> None:
    control.pause(QUEUE)
    for caller in ("one", "two"):
        floor.submit(*(a_job(caller=caller) for _ in range(50)))
    assert counts(table) == (100, 0, 0)
    control.resume(QUEUE)
    assert counts(table) == (100 - LINE, LINE, 0)
    floor.send(line(redis_client))
    floor.run_for(40)
    assert alike(floor.used_s["one"], floor.used_s["two"])


def test_job_that_was_released_and_not_sent_is_sent_by_the_reconciler_in_its_turn(
    floor: Floor, table: JobTable, a_job: MakeJob, reconciler: Reconciler, redis_client: redis.Redis
) -> None:
    """A worker dies between its claim, which released the next one, and that one's message."""
    floor.submit(*(a_job(caller="many") for _ in range(50)))
    (own,) = floor.submit(a_job(caller="one"))
    (released,) = [each for message in list(floor._messages)[:1] for each in table.claim(message, owner="dies")[1]]
    assert released == own
    reconciler.run_once()
    assert own not in messages(redis_client)
    let_look_be_due(redis_client, own)
    reconciler.run_once()
    assert messages(redis_client).count(own) == 1


def test_position_of_a_first_job_is_what_comes_before_it(floor: Floor, table: JobTable, a_job: MakeJob) -> None:
    flood(floor, a_job, 10, priority="normal")
    floor.run_for(15)
    (own,) = floor.submit(a_job(caller="one"))
    told, began = position(table, own), len(floor.began_s)
    floor.run_until_begun(own)
    assert told == len(floor.began_s) - began


def test_position_of_a_later_job_counts_the_turns_of_others(floor: Floor, table: JobTable, a_job: MakeJob) -> None:
    flood(floor, a_job, 10, priority="normal")
    floor.run_for(15)
    own = floor.submit(*(a_job(caller="one") for _ in range(6)))
    told, began = position(table, own[-1]), len(floor.began_s)
    assert told is not None
    floor.run_until_begun(own[-1])
    assert alike(told, len(floor.began_s) - began)


def test_submission_of_a_heavy_key_costs_less(a_job: MakeJob, table: JobTable, redis_client: redis.Redis) -> None:
    usual: Submission = a_job()
    heavy, large = a_job(weight=4.0), a_job(n=3)
    table.submit_many([usual, heavy, large])
    costs = [redis_client.hget(names.job_key(each.job_id), "cost") for each in (usual, heavy, large)]
    assert costs == [None, "0.25", "3"]
