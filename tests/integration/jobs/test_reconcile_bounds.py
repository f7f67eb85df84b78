"""However much is due, a script of the reconciler does a part of it, and the next pass comes at once."""

from __future__ import annotations

import threading

import pytest
import redis

from jobs import names
from jobs.broker.dispatch import Dispatcher
from jobs.broker.reconcile import Reconciler
from jobs.process.settings import Settings
from jobs.scripts.limits import times_of
from jobs.scripts.ranks import LINE
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import QUEUE, MakeJob, claim, let_lease_run_out, line, submit

MOST = 256  # jobs of a pass
SERVER = "imagemill:server"


@pytest.fixture
def table(redis_client: redis.Redis, settings: Settings) -> JobTable:
    return JobTable(redis_client, settings)


def commands(client: redis.Redis) -> int:
    """So many commands since this was asked last."""
    calls = [int(each["calls"]) for each in client.info("commandstats").values()]
    client.config_resetstat()
    return sum(calls)


def test_pass_has_one_bound_for_all_that_is_due(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    running, late, later, released = (
        submit(table, *(a_job(caller=caller, **fields) for _ in range(200)))
        for caller, fields in (("one", {}), ("two", {}), ("three", {"start_after": 3600}), ("four", {}))
    )
    for job_id in running:
        claim(table, job_id)
    let_lease_run_out(redis_client, *running)
    redis_client.zadd(names.DEADLINES, dict.fromkeys(late, 1.0))
    for job_id in late:
        redis_client.hset(names.job_key(job_id), "end_by", 1)
    redis_client.zadd(names.later_key(QUEUE), dict.fromkeys(later, 1.0))
    for job_id in released:
        redis_client.zadd(names.released_key(QUEUE), {job_id: 1.0})
    done = reconciler.run_once()
    assert done is not None
    assert done.has_more
    begun = len(later) - redis_client.zcard(names.later_key(QUEUE))
    shares = [done.requeued, done.expired, begun, done.resent]
    assert min(shares) >= MOST // 10  # Whatever else is due, something is done of each.
    assert sum(shares) <= MOST + len(shares)
    requeued = done.requeued
    while (done := reconciler.run_once()) and done.has_more:
        requeued += done.requeued
    assert done is not None
    assert requeued + done.requeued == len(running)
    assert {table.get(each).status for each in late} == {Status.EXPIRED}
    assert redis_client.zcard(names.later_key(QUEUE)) == 0


def test_next_pass_comes_at_once_where_something_is_left(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, dispatcher: Dispatcher, settings: Settings
) -> None:
    jobs = submit(table, *(a_job() for _ in range(600)))
    for job_id in jobs:
        redis_client.zadd(names.released_key(QUEUE), {job_id: 1.0})
    stopping = _StopsAfter(4)
    Reconciler(redis_client, dispatcher, settings).run(stopping)
    pass_s = times_of(settings.lease_s).pass_s
    assert stopping.pauses_s == [pass_s, 0.0, 0.0, pass_s]


def test_upgrade_moves_what_stands_beyond_the_line_part_by_part(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler, settings: Settings
) -> None:
    wide = JobTable(redis_client, settings.model_copy(update={"release_window": 1_000}))
    submit(wide, *(a_job(caller=f"caller-{number % 7}") for number in range(600)))
    for number, job_id in enumerate(line(redis_client)):
        redis_client.zadd(names.line_key(QUEUE), {job_id: LINE * 10**14 + number})
    redis_client.hdel(SERVER, "has_shares")
    stand = []
    while not redis_client.hget(SERVER, "has_shares"):
        done = reconciler.run_once()
        assert done is not None
        stand.append(redis_client.zcount(names.line_key(QUEUE), 3e14, "inf"))
    assert stand == [600 - MOST, 600 - 2 * MOST, 0]
    assert len(line(redis_client)) == 2
    assert redis_client.zcard(names.queued_key(QUEUE)) == 600


def test_upgrade_from_the_first_version_moves_what_is_released_part_by_part(
    a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler, settings: Settings
) -> None:
    wide = JobTable(redis_client, settings.model_copy(update={"release_window": 1_000}))
    ids = submit(wide, *(a_job() for _ in range(1_000)))
    redis_client.delete(names.turns_key(QUEUE, "default"))
    redis_client.hdel(SERVER, "has_turns")
    reconciler.run_once()
    assert 0 < redis_client.zcard(names.turns_key(QUEUE, "default")) < 700
    assert not redis_client.hget(SERVER, "has_turns")
    while not redis_client.hget(SERVER, "has_turns"):
        assert reconciler.run_once() is not None
    assert redis_client.zrange(names.turns_key(QUEUE, "default"), 0, -1) == ids
    assert not redis_client.hget(SERVER, f"turns:{QUEUE}")


@pytest.mark.parametrize("jobs_each", [1, 2])
def test_no_claim_pays_for_all_callers_that_have_gone(
    redis_client: redis.Redis, narrow_settings: Settings, a_job: MakeJob, jobs_each: int
) -> None:
    table = JobTable(redis_client, narrow_settings)
    submit(table, *(a_job(caller="stays") for _ in range(10)))
    for number in range(300):
        submit(table, *(a_job(caller=f"goes-{number:03}") for _ in range(jobs_each)))
    commands(redis_client)
    for _ in range(10 + 300 * jobs_each):
        claim(table, line(redis_client)[0])
        assert commands(redis_client) < 100


def test_callers_whose_jobs_were_canceled_are_forgotten_one_by_one(
    redis_client: redis.Redis, control: QueueControl, narrow_settings: Settings, a_job: MakeJob
) -> None:
    table = JobTable(redis_client, narrow_settings)
    control.pause(QUEUE)
    ids = submit(table, *(a_job(caller=f"caller-{number}") for number in range(300)))
    commands(redis_client)
    for job_id in ids:
        table.cancel(job_id)
        assert commands(redis_client) < 100
    assert not redis_client.exists(names.shares_key(QUEUE), names.callers_key(QUEUE))


class _StopsAfter(threading.Event):
    """Is set after so many waits, of which none takes any time."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self._waits = waits
        self.pauses_s: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses_s.append(timeout)
        return len(self.pauses_s) > self._waits - 1
