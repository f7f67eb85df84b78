"""Workers that are stopped in order, renewed one by one, or cannot start at all."""

from __future__ import annotations

import os
import signal
import time

from jobs import names
from jobs.table.states import Status
from producer import Job
from tests.faults.conftest import MakeSystem
from tests.faults.harness.rows import Row
from tests.faults.harness.system import CATALOGUE, System
from tests.faults.harness.waiting import until
from tests.faults.harness.worker import WorkerUnderTest
from tests.processes import is_alive

LEASE_S = 10.0
GRACE_S, SHORT_GRACE_S = 30.0, 2.0


def test_sigterm_under_load_exits_0_within_the_grace_period(make_system: MakeSystem, row: Row) -> None:
    system = make_system({"IMAGEMILL_WORKER_GRACE_S": str(GRACE_S)})
    patient, hurried = system.worker(), system.worker(env={"IMAGEMILL_WORKER_GRACE_S": str(SHORT_GRACE_S)})
    system.ready()
    jobs: list[Job] = []
    given_back, took_s = [], []
    for worker, grace_s in ((hurried, SHORT_GRACE_S), (patient, GRACE_S)):
        jobs += system.submit(14, steps=60)
        held = until("the worker is full", lambda worker=worker: _full(system, worker))  # type: ignore[misc]
        unstarted = [job for job in held if system.counts(job).attempts == 0]
        assert unstarted, "every job had begun: nothing to give back"
        stopped_at, code_after_s = _stop(system, worker)
        took_s.append(code_after_s)
        assert worker.exit_code == 0
        # One that ends nothing in time gives back when its grace is over, and then has to leave.
        assert code_after_s < grace_s + (LEASE_S if worker is hurried else 0)
        for job in unstarted:
            back_s = _back_at(system, job, stopped_at) - stopped_at
            assert back_s < LEASE_S / 2, "not given back: its lease has lapsed"
            given_back.append(back_s)
        if worker is hurried:
            # They ran when it had to stop: back as well, and nobody is charged for it.
            begun = [job for job in held if job not in unstarted and not job.status().has_ended]
            assert begun and all(_back_at(system, job, stopped_at) for job in begun)
            system.ready(system.worker())
    system.run_workers(1)
    system.finish(jobs)
    assert all(job.status().status is Status.SUCCEEDED for job in jobs)
    assert all(system.counts(job).attempts == 1 for job in jobs), "a job was charged for the stop of a worker"
    row.note(exit_after_s=[round(each, 1) for each in took_s], grace_s=[SHORT_GRACE_S, GRACE_S])
    row.close(system, jobs, injected=len(took_s), recovered_s=given_back)


def _full(system: System, worker: WorkerUnderTest) -> list[Job] | None:
    """The worker's jobs, once it holds more than it has engine slots for, and those in the slots are at work."""
    held = [system.client.job(job_id) for job_id in system.held_by(worker.owner)]
    begun = [job for job in held if system.counts(job).stage == "generate"]
    return held if len(held) > len(begun) >= 4 else None


def _stop(system: System, worker: WorkerUnderTest) -> tuple[float, float]:
    """SIGTERM; returns when it was sent, by Redis' clock, and after how many seconds the worker had ended."""
    at, started = system.now(), time.monotonic()
    worker.terminate()
    until("the worker has ended", lambda: worker.exit_code is not None)
    return at, time.monotonic() - started


def _back_at(system: System, job: Job, after: float) -> float:
    """When the job was put back behind a moment, by Redis' clock."""
    back = [at for at, kind, data in system.events(job) if kind == "status" and data["status"] == "queued"]
    return min(at for at in back if at >= after)


def test_old_workers_meet_newer_messages_in_a_rolling_restart_under_load(system: System, row: Row) -> None:
    old = system.run_workers(2)
    jobs = system.submit(20, steps=10)
    newer = []
    for _ in range(3):
        sent = system.cli("submit", "a picture of tomorrow", faults={"be_newer": {}})
        newer.append(system.client.job(sent.stdout.strip()))
    written = {system.redis.hget(names.job_key(job.id), "schema") for job in newer}
    assert written == {str(names.SCHEMA_VERSION + 1)}
    until("the old workers are done with the rest", lambda: all(job.status().has_ended for job in jobs))
    until("the newer messages were taken", lambda: not list(system.redis.scan_iter("run.sim*", _type="list")))
    assert all(system.counts(job).attempts == system.counts(job).epoch == 0 for job in newer), "not given back"
    jobs += system.submit(40, steps=20)
    for worker in old:
        system.ready(system.worker({"be_newer": {}}))
        _stop(system, worker)
        assert worker.exit_code == 0
    system.finish([*jobs, *newer])
    assert all(system.counts(job).attempts == 1 for job in [*jobs, *newer])
    assert all(job.status().status is Status.SUCCEEDED for job in [*jobs, *newer])
    row.note(newer=len(newer), restarted=len(old))
    row.close(system, [*jobs, *newer], injected=len(newer) + len(old))


def test_crashed_child_is_started_again_with_backoff(system: System) -> None:
    worker = system.worker({"fail_at_start": {"times": 2}})
    system.ready()
    assert len(system.evidence("fail_at_start")) == 2
    ended = [line for line in worker.lines if "starting another" in line]
    assert ["pause_s=1.0" in ended[0], "pause_s=2.0" in ended[1]] == [True, True], ended
    first = worker.signal_child(signal.SIGKILL)
    until("the child is dead", lambda: not is_alive(first))
    until("its supervisor has seen it", lambda: worker.printed("starting another") == 3)
    until("another has taken its place", worker.is_ready)
    assert worker.child_pid != first
    job = system.submit(1)[0]
    assert job.wait(60).status is Status.SUCCEEDED


def test_worker_whose_model_cannot_be_loaded_says_why_and_takes_no_job(system: System) -> None:
    (system.folder / "empty").mkdir()
    broken = system.folder / "broken.toml"
    broken.write_text(
        CATALOGUE.replace('"simulated"', '"stable-diffusion"').replace('"launch_s', '"empty" # "launch_s')
    )
    job = system.submit(1)[0]
    worker = system.worker(env={"IMAGEMILL_MODELS_FILE": str(broken)})
    until("it has given up", lambda: worker.exit_code is not None)
    assert worker.exit_code == 78
    until("it has said why", lambda: worker.printed("of broken.toml) cannot be loaded from") == 1)
    assert worker.printed("starting another") == 0
    assert (job.status().status, system.counts(job).deliveries) == (Status.QUEUED, 0)


def test_child_whose_supervisor_was_killed_stops_by_itself(system: System) -> None:
    worker = system.worker()
    system.ready()
    child, supervisor = worker.child_pid, worker.pid
    assert supervisor is not None and supervisor != child
    job = system.submit(1, steps=60)[0]
    until("the job runs", lambda: system.claims(job))
    os.kill(supervisor, signal.SIGKILL)
    until("the supervisor is dead", lambda: worker.exit_code == -signal.SIGKILL)
    until("the orphan has stopped", lambda: not is_alive(child))
    until("it has said why", lambda: worker.printed("the parent process is gone") == 1)
    assert job.wait(1).status is Status.SUCCEEDED, "what ran was not finished"
