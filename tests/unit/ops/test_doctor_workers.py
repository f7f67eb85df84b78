"""What the doctor makes of workers and queues."""

from __future__ import annotations

import time

import pytest

from jobs.fleet.fleet import WorkerReport, WorkerState
from jobs.table.reader import QueueCounts
from ops.doctor.finding import State
from ops.doctor.workers import judge_each, judge_queue, judge_queues, judge_workers


def worker(state: WorkerState, *models: str) -> WorkerReport:
    return WorkerReport(name=f"{state}@host", state=state, models=models or ("shapes",))


def queue(*, waiting: int = 0, released: int = 0, running: int = 0, is_paused: bool = False) -> QueueCounts:
    return QueueCounts(queue="gpu.shapes", waiting=waiting, released=released, running=running, is_paused=is_paused)


@pytest.mark.parametrize(
    ("states", "state", "found"),
    [
        ((), State.WARNING, "none"),
        (("starting",), State.WARNING, "1 (1 starting)"),
        (("draining",), State.WARNING, "1 (1 draining)"),
        (("ready",), State.OK, "1 (1 ready)"),
        (("busy", "busy", "ready", "draining"), State.OK, "4 (2 busy, 1 ready, 1 draining)"),
    ],
)
def test_workers_are_counted_by_state(states: tuple[WorkerState, ...], state: State, found: str) -> None:
    finding = judge_workers([worker(each) for each in states])
    assert (finding.state, finding.found) == (state, found)


@pytest.mark.parametrize("jobs", [{"waiting": 1}, {"released": 1}, {"running": 1}])
@pytest.mark.parametrize(
    "workers", [[], [worker("ready", "other")], [worker("draining")], [worker("starting")]], ids=str
)
@pytest.mark.parametrize("is_paused", [False, True])
def test_jobs_without_a_worker_that_serves_them_are_a_failure(
    jobs: dict[str, int], workers: list[WorkerReport], is_paused: bool
) -> None:
    finding = judge_queue(queue(**jobs, is_paused=is_paused), workers)
    assert finding.state is State.FAILURE
    assert "no worker serves shapes" in finding.found
    assert ("paused" in finding.found) is is_paused


def test_jobs_with_a_worker_are_well_and_paused_ones_a_warning() -> None:
    assert judge_queue(queue(waiting=3, running=1), [worker("busy")]).state is State.OK
    paused = judge_queue(queue(waiting=3, is_paused=True), [worker("ready")])
    assert paused.state is State.WARNING
    assert "queue resume gpu.shapes" in paused.advice
    assert judge_queue(queue(is_paused=True), []).state is State.WARNING


def test_model_that_is_too_large_for_every_device_is_said() -> None:
    small = WorkerReport(name="worker@a", state="ready", models=("other",), left_out=("shapes",))
    finding = judge_queue(queue(waiting=1), [small, small])
    assert finding.state is State.FAILURE
    assert "no worker serves shapes; too little memory for it: 2" in finding.found
    assert "min_vram_gb of [models.shapes]" in finding.advice


def test_queues_without_jobs_need_no_worker() -> None:
    (finding,) = judge_queues([queue()], [])
    assert (finding.check, finding.state) == ("queues", State.OK)


def test_worker_that_was_told_to_take_no_jobs_is_said_with_how_to_have_it_take_some() -> None:
    found = WorkerReport(name="worker@a", state="detached", models=("shapes",), detached=("gpu.shapes",))
    (finding,) = judge_each([found, worker("ready")])
    assert (finding.check, finding.state) == ("worker worker@a", State.WARNING)
    assert "asked to stop receiving jobs of gpu.shapes" in finding.found
    assert "add_consumer run.shapes -d worker@a" in finding.advice
    assert judge_queue(queue(waiting=1), [found]).state is State.FAILURE
    assert "(1 detached)" in judge_queue(queue(waiting=1), [found]).found


def test_worker_whose_adoption_stands_still_is_said() -> None:
    (finding,) = judge_each([WorkerReport(name="worker@a", state="busy", models=("shapes",), adopts=False)])
    assert "makes no jobs of plain Celery messages" in finding.found
    assert finding.state is State.WARNING


def test_workers_that_failed_alike_are_one_finding_and_one_that_failed_long_ago_is_none() -> None:
    failed = [
        WorkerReport(name=f"worker@{n}", state="failed", failure="model shapes: no such folder", failed_at=at)
        for n, at in enumerate((time.time(), time.time() - 10, time.time() - 20))
    ]
    (finding,) = judge_each(failed)
    assert finding.check == "worker worker@0"
    assert "model shapes: no such folder" in finding.found
    assert finding.found.endswith("(and 2 more)")
    long_ago = WorkerReport(name="worker@b", state="ready", failure="was ended by SIGKILL", failed_at=1.0)
    assert judge_each([long_ago, worker("ready")]) == []


def test_jobs_that_are_to_begin_later_need_a_worker_too() -> None:
    later = QueueCounts(queue="gpu.shapes", waiting=0, released=0, running=0, later=2)
    (finding,) = judge_queues([later], [])
    assert finding.state is State.FAILURE
    assert "2 to start later" in finding.found
