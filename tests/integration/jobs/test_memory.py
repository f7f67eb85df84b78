"""A Redis that is full: it takes no new jobs, and what runs is written down to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from jobs.broker.app import make_app
from jobs.broker.dispatch import Dispatcher
from jobs.broker.reconcile import Reconciled, Reconciler
from jobs.errors import RedisFull
from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.servers import RedisServer
from tests.integration.jobs.steps import MakeJob, claim, let_lease_run_out, submit


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A server of this test alone: there is no other way to make one full."""
    with RedisServer(tmp_path) as server:
        yield Settings(redis_url=server.url)


@pytest.fixture
def table(redis_client: redis.Redis, settings: Settings) -> JobTable:
    return JobTable(redis_client, settings)


def fill(client: redis.Redis, settings: Settings, share: float) -> JobTable:
    """Let so much of the memory be in use. Returns a table that has not asked Redis for its memory yet."""
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] / share))
    return JobTable(client, settings)


def test_submission_to_a_redis_that_is_nearly_full_is_refused(
    table: JobTable, redis_client: redis.Redis, settings: Settings, a_job: MakeJob
) -> None:
    address = settings.redis_url.replace("/0", "")
    with pytest.raises(RedisFull, match=rf"{address}.* is full .* of .* MiB.*: nothing was queued.*maxmemory"):
        fill(redis_client, settings, 0.9).submit(a_job())
    assert list(redis_client.scan_iter("imagemill:*")) == []
    assert fill(redis_client, settings, 0.5).submit(a_job()).released


def test_submission_to_a_redis_that_filled_up_since_it_was_asked_is_refused(
    table: JobTable, redis_client: redis.Redis, settings: Settings, a_job: MakeJob
) -> None:
    submit(table, a_job())  # Asks for the memory, and remembers it for a second.
    fill(redis_client, settings, 1.1)
    with pytest.raises(RedisFull, match=r"redis://127\.0\.0\.1:\d+.* is full"):
        table.submit(a_job())


def test_redis_without_a_bound_takes_everything(
    table: JobTable, redis_client: redis.Redis, settings: Settings, a_job: MakeJob
) -> None:
    redis_client.config_set("maxmemory", 0)
    assert table.submit(a_job()).released


@pytest.mark.parametrize("knows_the_scripts", [True, False], ids=["scripts known", "scripts forgotten"])
def test_running_jobs_go_on_in_a_full_redis(
    table: JobTable,
    redis_client: redis.Redis,
    settings: Settings,
    a_job: MakeJob,
    knows_the_scripts: bool,
) -> None:
    ends, leaves, waits, goes_back = submit(table, *(a_job() for _ in range(4)))
    fill(redis_client, settings, 1.1)
    if not knows_the_scripts:
        redis_client.script_flush()
    ended, left, gone = (claim(table, job_id) for job_id in (ends, leaves, goes_back))
    assert table.begin(ended, Stage.ENCODE) is None
    assert len(table.renew([ended, left])) == 2
    assert table.cancel(left.job_id)[0] is Status.PROCESSING
    assert table.progress(left, Stage.GENERATE) is Status.CANCELED
    assert table.finish(ended, Status.SUCCEEDED, timings={"total": 1.0}).timings == {"total": 1.0}
    assert table.finish(left, Status.CANCELED).status is Status.CANCELED
    assert table.cancel(waits)[0] is Status.CANCELED
    table.give_back(gone)
    table.refund(gone)
    assert table.get(goes_back).status is Status.QUEUED


def test_full_redis_still_hears_of_its_workers(redis_client: redis.Redis, settings: Settings) -> None:
    fleet = Fleet(redis_client, settings)
    fill(redis_client, settings, 1.1)
    fleet.report(WorkerReport(name="worker@here", state="busy", jobs=("a-job",)))
    assert [each.name for each in fleet.workers()] == ["worker@here"]


def test_job_of_a_lost_worker_is_taken_back_in_a_full_redis_and_sent_when_there_is_room(
    table: JobTable, redis_client: redis.Redis, settings: Settings, a_job: MakeJob
) -> None:
    claimed = claim(table, *submit(table, a_job()))
    reconciler = Reconciler(redis_client, Dispatcher(make_app(settings), table, settings), settings)
    reconciler.run_once()
    redis_client.hset("imagemill:server", "hold_until", 0)
    let_lease_run_out(redis_client, claimed.job_id)
    fill(redis_client, settings, 1.1)
    with pytest.raises(RedisFull):  # Of the broker, which has no room for the message.
        reconciler.run_once()
    assert table.get(claimed.job_id).status is Status.QUEUED
    redis_client.config_set("maxmemory", 0)
    redis_client.zadd("imagemill:released:gpu.shapes-flow", {claimed.job_id: 1.0}, xx=True)
    assert reconciler.run_once() == Reconciled(resent=1)


def test_redis_that_fills_up_among_many_submissions_refuses_those_alone_that_it_did_not_take(
    table: JobTable, redis_client: redis.Redis, a_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.redis.memory._LOOK_EVERY_S", 3600)
    submit(table, a_job())  # Asks for the memory, and has nothing against more from now on.
    redis_client.config_set("maxmemory", redis_client.info("memory")["used_memory"] + 1_000_000)
    submitted = table.submit_many([a_job() for _ in range(2_000)])
    refused = {each.job_id for each in submitted if each.refused}
    assert 0 < len(refused) < 2_000
    assert {type(each.refused) for each in submitted} == {RedisFull, type(None)}
    there = table.statuses([each.job_id for each in submitted])
    assert {each.job_id for each, status in zip(submitted, there, strict=True) if status is None} == refused
