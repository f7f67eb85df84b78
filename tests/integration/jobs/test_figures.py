"""The figures of the whole system, on a real server, with connections that send every command twice."""

from __future__ import annotations

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.errors import ErrorCode
from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.table.figures import FigureReader, Figures, QueueFigures
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import QUEUE, MakeJob, claim, let_lease_run_out, submit


@pytest.fixture
def reader(connection: redis.Redis, settings: Settings) -> FigureReader:
    return FigureReader(connection, settings)


def queue_of(figures: Figures) -> QueueFigures:
    (queue,) = figures.queues
    return queue


def test_a_system_that_never_had_a_job_has_no_queue(reader: FigureReader) -> None:
    figures = reader.read()
    assert (figures.queues, figures.dead, figures.kept) == ((), 0, 0)
    assert figures.memory is not None
    assert figures.memory.used_bytes > 0
    assert figures.memory.max_bytes == 0


def test_queued_jobs_are_counted_by_priority_released_or_not(
    narrow: JobTable, reader: FigureReader, a_job: MakeJob
) -> None:
    for priority in ("low", "low", "normal", "high", "high", "high"):
        submit(narrow, a_job(priority=priority))
    queue = queue_of(reader.read())
    assert queue.queue == QUEUE
    assert queue.queued == {"high": 3, "normal": 1, "low": 2}
    assert (queue.released, queue.running, queue.submitted) == (2, 0, 6)


def test_oldest_job_is_the_first_submitted_of_all_callers(
    table: JobTable, reader: FigureReader, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    (first,) = submit(table, a_job(caller="a"))
    (later,) = submit(table, a_job(caller="b"))
    _make_older(redis_client, first, 500)
    _make_older(redis_client, later, 100)
    ages = queue_of(reader.read()).oldest_s
    assert (500 <= ages["normal"] < 560, ages["high"], ages["low"]) == (True, 0, 0)
    claim(table, first)
    assert 100 <= queue_of(reader.read()).oldest_s["normal"] < 160


def test_job_that_is_replayed_is_as_old_as_its_replay(
    table: JobTable, control: QueueControl, reader: FigureReader, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    (job_id,) = submit(table, a_job())
    table.cancel(job_id)
    _make_older(redis_client, job_id, 5_000)
    control.replay(job_id)
    queue = queue_of(reader.read())
    assert 0 < queue.oldest_s["normal"] < 60
    assert (queue.submitted, queue.ended) == (2, {"canceled": 1})


def test_each_end_is_counted_once_by_status_and_failures_by_code(
    table: JobTable, reader: FigureReader, a_job: MakeJob
) -> None:
    for status, error in (
        (Status.SUCCEEDED, None),
        (Status.SUCCEEDED, None),
        (Status.FAILED, {"code": ErrorCode.OUT_OF_MEMORY, "message": "no"}),
    ):
        table.finish(claim(table, *submit(table, a_job())), status, error=error)
    table.cancel(*submit(table, a_job()))
    queue = queue_of(reader.read())
    assert queue.ended == {"succeeded": 2, "failed": 1, "canceled": 1}
    assert queue.failed == {"out_of_memory": 1}
    assert (sum(queue.queued.values()), queue.running) == (0, 0)


def test_lapses_and_the_dead_are_counted(
    table: JobTable,
    reader: FigureReader,
    reconciler: Reconciler,
    redis_client: redis.Redis,
    narrow_settings: Settings,
    a_job: MakeJob,
) -> None:
    (job_id,) = submit(table, a_job())
    for _ in range(narrow_settings.max_attempts):
        table.begin(claim(table, job_id), Stage.ENCODE)
        let_lease_run_out(redis_client, job_id)
        reconciler.run_once()
    figures = reader.read()
    queue = queue_of(figures)
    assert (queue.lapsed, queue.failed, figures.dead) == (narrow_settings.max_attempts, {"worker_lost": 1}, 1)


def test_paused_queue_is_marked(table: JobTable, control: QueueControl, reader: FigureReader, a_job: MakeJob) -> None:
    submit(table, a_job())
    control.pause(QUEUE)
    assert queue_of(reader.read()).is_paused


def test_stale_entries_are_taken_away(
    table: JobTable, reader: FigureReader, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    """An older worker knows nothing of this set, and claims without taking its job off."""
    stale, waiting = submit(table, a_job(), a_job())
    turn = redis_client.zscore(names.queued_key(QUEUE), stale) or 0.0
    claim(table, stale)
    redis_client.zadd(names.queued_key(QUEUE), {stale: turn, "gone": 3e14})
    assert queue_of(reader.read()).queued["normal"] == 1
    assert redis_client.zrange(names.queued_key(QUEUE), 0, -1) == [waiting]


def test_reading_costs_the_same_however_many_jobs_there_are(
    table: JobTable, reader: FigureReader, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    def commands() -> int:
        redis_client.config_resetstat()
        reader.read()
        return sum(each["calls"] for each in redis_client.info("commandstats").values())

    table.submit_many([a_job() for _ in range(2)])
    reader.read()  # Tells Redis of the script.
    few = commands()
    table.submit_many([a_job(caller=f"caller-{number}") for number in range(200)])
    assert commands() == few


def _make_older(client: redis.Redis, job_id: str, seconds: float) -> None:
    client.hincrbyfloat(names.job_key(job_id), "created_at", -seconds)
