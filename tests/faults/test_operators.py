"""What an operator does to the running system, by the command line, by Celery and by Flower."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobs.broker.app import make_app
from jobs.names import line_of
from jobs.table.states import Status
from ops.programs import Flower
from producer import Job
from tests.faults.harness.rows import Row
from tests.faults.harness.system import QUEUE, SLOTS, System
from tests.faults.harness.waiting import until
from tests.faults.harness.worker import WorkerUnderTest

Revoke = Callable[[str], object]


@pytest.fixture
def flower(system: System) -> Iterator[Flower]:
    with Flower(system.folder / "flower", 0, system.env | {"FLOWER_UNAUTHENTICATED_API": "true"}) as flower:
        yield flower


def test_revoke_from_flower_and_from_celery_cancels_and_a_replay_runs(system: System, flower: Flower, row: Row) -> None:
    worker = system.run_workers(1)[0]
    jobs = []
    with make_app(system.settings) as app:
        for revoke in (lambda job_id: _revoke_by_flower(flower, job_id), app.control.revoke):
            jobs += _revoke_a_running_and_a_waiting_job(system, worker, revoke)
    for job in jobs:
        assert system.cli("dead", "replay", job.id).returncode == 0
    system.finish(jobs)
    assert all(job.status().status is Status.SUCCEEDED for job in jobs), "a replay was swallowed"
    row.note(revoked_by=["flower", "celery"], of=["running", "waiting"])
    row.close(system, jobs, injected=len(jobs))


def _revoke_a_running_and_a_waiting_job(system: System, worker: WorkerUnderTest, revoke: Revoke) -> list[Job]:
    others = system.submit(SLOTS - 1, steps=60)
    running = system.submit(1, steps=60, priority="high")[0]
    until("the worker has all its slots taken", lambda: len(system.held_by(worker.owner)) == SLOTS)
    waiting = system.submit(1)[0]
    until(
        "the waiting job's message stands in the broker",
        lambda: list(system.redis.scan_iter(f"{line_of(QUEUE)}*", _type="list")),
    )
    for job in (waiting, running):
        revoke(job.id)
        until("the revoked job is canceled", lambda job=job: job.status().status is Status.CANCELED)  # type: ignore[misc]
    assert (system.counts(waiting).epoch, system.counts(running).epoch) == (0, 1)
    for job in others:
        job.cancel()
    system.finish(others)
    return [waiting, running]


def _revoke_by_flower(flower: Flower, job_id: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", flower.port or 0, timeout=20)
    try:
        connection.request("POST", f"/api/task/revoke/{job_id}?terminate=true", headers={"Content-Length": "0"})
        answer = connection.getresponse()
        assert answer.status == http.client.OK, answer.read()
    finally:
        connection.close()


def test_single_job_starts_after_what_was_released_before_it_of_10_000_others(system: System, row: Row) -> None:
    system.client.parts.control.pause(QUEUE)
    many = system.client.submit_many(
        {"prompt": "bulk", "num_inference_steps": 1, "caller": "bulk"} for _ in range(10_000)
    )
    system.client.parts.control.resume(QUEUE)
    system.run_workers(2)
    until("the bulk is under way", lambda: system.counts_of_queue().running)
    single = system.submit(1, steps=1, caller="single")[0]
    submitted_at = system.now()
    system.finish([single])
    started_at = single.status().started_at
    assert started_at is not None
    before = [at for at in _started(system, many) if submitted_at < at < started_at]
    most = max(system.settings.release_window, 2 * 2 * SLOTS)
    assert len(before) <= most
    row.note(waiting=len(many), started_before_it=len(before), most=most, waited_s=round(started_at - submitted_at, 2))
    assert system.cli("cancel", "--all", "--queue", QUEUE, "--yes").returncode == 0
    system.finish(many)
    sample = [single, *many[:200], *many[-200:]]
    row.close(system, sample, injected=len(many))


def _started(system: System, jobs: list[Job]) -> list[float]:
    pipeline = system.redis.pipeline(transaction=False)
    for job in jobs:
        pipeline.hget(f"imagemill:job:{job.id}", "started_at")
    return [float(each) for each in pipeline.execute() if each]


def test_pause_lets_running_jobs_finish_and_keeps_what_waits(system: System, row: Row) -> None:
    worker = system.run_workers(1)[0]
    running = system.submit(SLOTS, steps=80)
    until("the worker is full", lambda: len(system.held_by(worker.owner)) == SLOTS)
    waiting = system.submit(10)
    assert system.cli("queue", "pause", "sim").returncode == 0
    system.finish(running)
    until("messages of a paused queue are taken and given back", lambda: system.counts_of_queue().released == 0)
    counts = _json_lines(system.cli("queue", "list", "--json").stdout)[0]
    assert counts == {"queue": QUEUE, "waiting": 10, "released": 0, "running": 0, "later": 0, "paused": True}
    assert all(system.counts(job).epoch == 0 for job in waiting)
    assert system.cli("queue", "resume", QUEUE).returncode == 0
    system.finish(waiting)
    assert all(job.status().status is Status.SUCCEEDED for job in [*running, *waiting])
    row.close(system, [*running, *waiting], injected=1)


def test_purge_cancels_what_waits_and_cancel_all_what_runs_too(system: System, row: Row) -> None:
    worker = system.run_workers(1)[0]
    jobs = system.submit(SLOTS, steps=300)
    until("the worker is full", lambda: len(system.held_by(worker.owner)) == SLOTS)
    waiting = system.submit(600)
    assert system.cli("queue", "purge", "sim", "--yes").stdout.strip() == "600 jobs canceled"
    assert all(job.status().status is Status.CANCELED for job in waiting)
    assert len(system.held_by(worker.owner)) == SLOTS, "a purge ended what runs"
    assert system.cli("cancel", "--all", "--queue", "sim").returncode == 1, "it did not ask"
    assert system.cli("cancel", "--all", "--queue", "sim", "--yes").returncode == 0
    system.finish(jobs)
    row.close(system, [*jobs, *waiting], injected=2)


def test_workers_are_shown_starting_ready_busy_and_draining(system: System) -> None:
    worker = system.worker()
    until("it is starting", lambda: _states(system) == ["starting"])
    system.ready()
    until("it is ready", lambda: _states(system) == ["ready"])
    job = system.submit(1, steps=1000)[0]
    until("it is busy", lambda: _states(system) == ["busy"])
    assert [each.jobs for each in system.client.workers()] == [(job.id,)]
    worker.terminate()
    until("it is draining", lambda: _states(system) == ["draining"])
    shown = _json_lines(system.cli("workers", "--json").stdout)
    expected = {"name": worker.owner, "state": "draining", "models": ["sim"], "jobs": [job.id]}
    device = {"device": "cpu", "device_memory_gb": 0.0, "loaded": ["sim"], "left_out": [], "not_loaded": {}}
    assert shown == [{**expected, **device, "detached": [], "troubles": []}]
    job.cancel()
    until("it has left", lambda: worker.exit_code is not None)
    assert worker.exit_code == 0
    assert _states(system) == [], "a worker that has left is still shown"
    assert job.status().status is Status.CANCELED


def _states(system: System) -> list[str]:
    return [each.state for each in system.client.workers()]


def _json_lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]
