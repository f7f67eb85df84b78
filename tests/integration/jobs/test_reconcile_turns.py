"""The reconciler as a process: one at a time, patient with a restarted Redis, and bounded in its work."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from jobs import names
from jobs.broker.dispatch import Dispatcher
from jobs.broker.reconcile import Reconciled, Reconciler
from jobs.errors import RedisUnavailable
from jobs.process.settings import Settings
from jobs.scripts.limits import times_of
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.process import wait_until
from tests.integration.jobs.steps import (
    DEADLINE_S,
    QUEUE,
    MakeJob,
    claim,
    let_lease_run_out,
    let_look_be_due,
    messages,
    submit,
)

SERVER = "imagemill:server"


@pytest.fixture
def table(redis_client: redis.Redis, settings: Settings) -> JobTable:
    return JobTable(redis_client, settings)


@pytest.fixture
def narrow(redis_client: redis.Redis, narrow_settings: Settings) -> JobTable:
    return JobTable(redis_client, narrow_settings)


# One at a time.


def test_one_process_reconciles_at_a_time(
    redis_client: redis.Redis, reconciler: Reconciler, dispatcher: Dispatcher, settings: Settings
) -> None:
    other = Reconciler(redis_client, dispatcher, settings)
    assert other.run_once() is None
    assert reconciler.run_once() == Reconciled()
    assert other.run_once() is None


def test_lock_of_a_process_that_died_expires_within_seconds(
    redis_client: redis.Redis, reconciler: Reconciler, dispatcher: Dispatcher, settings: Settings
) -> None:
    assert 0 < redis_client.pttl(names.RECONCILER) <= 3_000
    redis_client.pexpire(names.RECONCILER, 1)
    other = Reconciler(redis_client, dispatcher, settings)
    assert wait_until(lambda: other.run_once() is not None, DEADLINE_S)
    assert reconciler.run_once() is None


def test_many_processes_at_once_take_a_job_back_once(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, dispatcher: Dispatcher, reconciler: Reconciler
) -> None:
    jobs = submit(table, *(a_job() for _ in range(8)))
    for job_id in jobs:
        claim(table, job_id)
    let_lease_run_out(redis_client, *jobs)
    redis_client.delete(names.RECONCILER)
    others = [Reconciler(redis_client, dispatcher, Settings(redis_url="redis://unused")) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = [each for each in pool.map(Reconciler.run_once, others) if each is not None]
    assert done == [Reconciled(requeued=8)]
    assert sorted(messages(redis_client)) == sorted(jobs)


# Redis that is another than before.


@pytest.mark.parametrize("passes", [1, 3])
def test_owners_may_renew_first_when_redis_was_restarted(
    table: JobTable,
    a_job: MakeJob,
    redis_client: redis.Redis,
    reconciler: Reconciler,
    passes: int,
    settings: Settings,
) -> None:
    alive, dead = (claim(table, job_id) for job_id in submit(table, a_job(), a_job()))
    redis_client.hset(SERVER, "identity", "a run_id and replid of an hour ago")
    let_lease_run_out(redis_client, alive.job_id, dead.job_id)
    for _ in range(passes):
        assert reconciler.run_once() == Reconciled()
    seconds, _ = redis_client.time()
    assert 0 < float(redis_client.hget(SERVER, "hold_until") or 0) - seconds <= settings.lease_s + 1
    table.renew([alive])
    redis_client.hset(SERVER, "hold_until", 0)  # A lease later.
    assert reconciler.run_once() == Reconciled(requeued=1)
    assert table.get(alive.job_id).status is Status.PROCESSING
    assert table.get(dead.job_id).status is Status.QUEUED


def test_lost_messages_are_sent_again_even_while_owners_may_renew(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    (job_id,) = submit(table, a_job())
    redis_client.hset(SERVER, "identity", "another")
    let_look_be_due(redis_client, job_id)
    assert reconciler.run_once() == Reconciled(resent=1)


# Its work.


def test_pass_does_a_bounded_amount_and_the_next_ones_the_rest(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    jobs = submit(table, *(a_job() for _ in range(600)))
    for job_id in jobs:
        redis_client.zrem(names.released_key(QUEUE), job_id)
        redis_client.zadd(names.released_key(QUEUE), {job_id: 1.0})
    assert [reconciler.run_once() for _ in range(4)] == [
        *(Reconciled(resent=count) for count in (256, 256, 88)),
        Reconciled(),
    ]


def test_pass_of_a_table_full_of_waiting_jobs_looks_at_none(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    submit(narrow, *(a_job() for _ in range(200)))
    redis_client.config_resetstat()
    reconciler.run_once()
    calls = {name: each["calls"] for name, each in redis_client.info("commandstats").items()}
    assert "cmdstat_hgetall" not in calls
    assert sum(calls.values()) < 40


def test_loop_goes_on_after_a_pass_that_failed(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, dispatcher: Dispatcher, settings: Settings
) -> None:
    (job_id,) = submit(table, a_job())
    failing = _FailsAtFirst(redis_client, dispatcher, settings)
    stopping = threading.Event()
    thread = threading.Thread(target=failing.run, args=(stopping,))
    thread.start()
    try:
        let_look_be_due(redis_client, job_id)
        deadline_s = DEADLINE_S + 2 * times_of(settings.lease_s).pass_s
        assert wait_until(lambda: messages(redis_client) == [job_id], deadline_s)
    finally:
        stopping.set()
        thread.join()
    assert failing.failures == 2


def test_how_soon_a_message_is_looked_for_follows_the_lease(
    redis_client: redis.Redis, settings: Settings, a_job: MakeJob
) -> None:
    looks = []
    for lease_s in (8.0, 16.0):
        table = JobTable(redis_client, settings.model_copy(update={"lease_s": lease_s}))
        (job_id,) = submit(table, a_job())
        look_at = redis_client.zscore(names.released_key(QUEUE), job_id)
        looks.append((look_at or 0) - table.get(job_id).created_at)
    assert looks == [pytest.approx(5, abs=0.1), pytest.approx(10, abs=0.1)]


class _FailsAtFirst(Reconciler):
    failures = 0

    def run_once(self) -> Reconciled | None:
        errors = [ValueError("a record that cannot be read"), RedisUnavailable("away")]
        if self.failures < len(errors):
            self.failures += 1
            raise errors[self.failures - 1]
        return super().run_once()
