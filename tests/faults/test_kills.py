"""SIGKILL of workers at random moments, and jobs that kill or hang the worker that runs them."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from dataclasses import dataclass

from jobs.table.states import Status
from producer import Job
from tests.faults.conftest import MakeSystem
from tests.faults.harness.load import Load
from tests.faults.harness.rows import Row
from tests.faults.harness.system import Counts, System
from tests.faults.harness.waiting import on_this_machine, until
from tests.faults.harness.worker import WorkerUnderTest

KILLS, SEED = 20, 20261124
WORKERS, IN_FLIGHT = 4, 12
BOUND_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A job that a killed worker held."""

    job: Job
    killed_at: float
    counts: Counts


def test_sigkill_of_a_worker_with_jobs_in_every_stage(system: System, row: Row) -> None:
    dice = random.Random(SEED)
    workers = [_start(system) for _ in range(WORKERS)]
    system.ready()
    load = Load(system, IN_FLIGHT)
    losses: list[Loss] = []
    kills: list[float] = []

    def next_victim() -> WorkerUnderTest | None:
        load.top_up()
        return _pick(system, workers, dice)

    for _ in range(KILLS):
        until("two workers are ready", lambda: load.top_up() and sum(each.is_ready() for each in workers) >= 2)
        load.keep_up_until(time.monotonic() + dice.uniform(0.5, 2.5))
        victim = until("a worker holds jobs", next_victim)
        kills.append(system.now())
        losses += _kill(system, victim)
        workers.remove(victim)
        workers.append(_start(system))
    system.finish(load.jobs)

    stages = Counter(each.counts.stage or "claimed" for each in losses)
    assert {"encode", "generate", "postprocess", "upload"} <= set(stages), f"not in every stage: {stages}"
    _check_failures(load.jobs, losses)
    begun_s = [_first(_before_next(system.entered(each.job, "encode"), each, losses), each) for each in losses]
    raw_s = [_first(system.entered(each.job, "encode"), each) for each in losses]
    row.note(begun_again_over_further_kills_max_s=_largest(raw_s))
    row.note(seed=SEED, jobs_lost=len(losses), lost_in=dict(stages), begun_again_max_s=_largest(begun_s))
    recovered_s = _claimed_after_s(system, losses)
    row.note(killed_again_before_claim=sum(_is_killed_before_claim(system, each, kills) for each in losses))
    row.close(system, load.jobs, injected=KILLS, recovered_s=recovered_s)
    assert max(recovered_s) < on_this_machine(BOUND_S)
    assert _largest(begun_s) < on_this_machine(BOUND_S), (
        "claimed in time, but it waited for an engine slot: it does not run yet"
    )


def _claimed_after_s(system: System, losses: list[Loss]) -> list[float]:
    after_s = [_first(system.claims(each.job), each) for each in losses]
    return [seconds for seconds in after_s if seconds is not None]


def _is_killed_before_claim(system: System, loss: Loss, kills: list[float]) -> bool:
    """Whether a further kill came after it was queued again, and may have taken its message along before its claim."""
    back = [at for at, kind, data in system.events(loss.job) if kind == "status" and data["status"] == "queued"]
    queued_s, claimed_s = _first(back, loss) or 0, _first(system.claims(loss.job), loss) or 0
    return any(queued_s < at - loss.killed_at < claimed_s for at in kills)


def _start(system: System) -> WorkerUnderTest:
    return system.worker({"slow_ends": {"seconds": 0.4}})


def _pick(system: System, workers: list[WorkerUnderTest], dice: random.Random) -> WorkerUnderTest | None:
    ready = [each for each in workers if each.is_ready()]
    holding = [each for each in ready if system.held_by(each.owner)]
    return dice.choice(holding) if len(ready) >= 2 and holding else None


def _kill(system: System, victim: WorkerUnderTest) -> list[Loss]:
    owner = victim.owner
    killed_at = system.now()
    victim.kill()
    held = [system.client.job(job_id) for job_id in system.held_by(owner)]
    return [Loss(job=job, killed_at=killed_at, counts=system.counts(job)) for job in held]


def _before_next(moments: list[float], loss: Loss, losses: list[Loss]) -> list[float]:
    """Those before the job lost another worker: that kill has its own time to recover."""
    later = [each.killed_at for each in losses if each.job.id == loss.job.id and each.killed_at > loss.killed_at]
    return [at for at in moments if at < min(later, default=float("inf"))]


def _first(moments: list[float], loss: Loss) -> float | None:
    """Seconds from the kill to the first of these moments behind it; None for a job that had its last attempt."""
    return min((at - loss.killed_at for at in moments if at > loss.killed_at), default=None)


def _largest(seconds: list[float | None]) -> float:
    return round(max(each for each in seconds if each is not None), 2)


def _check_failures(jobs: list[Job], losses: list[Loss]) -> None:
    """A job may fail only if it lost three workers."""
    lost = Counter(each.job.id for each in losses)
    for record in [job.status() for job in jobs]:
        if record.status is not Status.SUCCEEDED:
            assert record.error is not None and record.error.code == "worker_lost"
            assert lost[record.id] >= 3, f"{record.id} lost {lost[record.id]} workers, and failed"


def test_job_that_kills_the_process_each_time_is_dead_after_3_attempts(make_system: MakeSystem, row: Row) -> None:
    system = make_system({"IMAGEMILL_LEASE_S": "5"})
    for _ in range(2):
        system.worker({"kill_in_forward": {"prompt": "poison", "times": 3}})
    system.ready()
    before, poison, after = system.submit(6, steps=20), system.submit(1, prompt="poison")[0], system.submit(20)
    neighbours = [*before, *after]
    system.finish([*neighbours, poison])
    record = poison.status()
    assert record.error is not None
    assert (record.status, record.error.code, record.attempts) == (Status.FAILED, "worker_lost", 3)
    assert all(job.status().status is Status.SUCCEEDED for job in neighbours)
    row.close(system, [*neighbours, poison], injected=len(system.evidence("kill_in_forward")))

    listed = [json.loads(line) for line in system.cli("dead", "list", "--json").stdout.splitlines()]
    assert [each["id"] for each in listed] == [poison.id]
    assert json.loads(system.cli("dead", "show", poison.id).stdout)["error"]["code"] == "worker_lost"
    assert system.cli("dead", "drop", poison.id).returncode == 0
    assert system.cli("dead", "list", "--json").stdout == ""
    assert system.cli("dead", "replay", poison.id).returncode == 0
    assert poison.wait(60).status is Status.SUCCEEDED  # It has killed its three by now.


def test_job_that_kills_the_process_as_its_files_are_made_takes_its_neighbours_once(
    make_system: MakeSystem, row: Row
) -> None:
    """From its second attempt on it is a suspect, and alone until its files are made."""
    system = make_system({"IMAGEMILL_LEASE_S": "5"})
    system.worker({"kill_in_postprocess": {"prompt": "poison", "times": 3}})
    system.ready()
    jobs = system.submit(6, steps=20)
    poison = system.submit(1, prompt="poison")[0]
    jobs += system.submit(6, steps=20)
    system.finish([*jobs, poison])
    assert system.counts(poison).attempts == 3
    assert max(system.counts(job).attempts for job in jobs) <= 2, "a neighbour was there again"
    assert all(job.status().status is Status.SUCCEEDED for job in jobs)
    row.close(system, [*jobs, poison], injected=len(system.evidence("kill_in_postprocess")))


def test_job_that_hangs_the_forward_pass_runs_elsewhere_and_the_worker_comes_back(
    make_system: MakeSystem, row: Row
) -> None:
    system = make_system({"IMAGEMILL_WORKER_HANG_S": "3"})
    hanging = system.worker({"hang_in_forward": {"prompt": "quicksand"}})
    system.ready()
    jobs = [*system.submit(3, steps=20), *system.submit(1, prompt="quicksand"), *system.submit(6)]
    struck = until("the device hangs", lambda: system.evidence("hang_in_forward"))
    system.run_workers(1)
    system.finish(jobs)
    until("it has said why", lambda: hanging.printed("a call of the device does not return") == 1)
    until("its supervisor has started it again", hanging.is_ready)
    assert all(job.status().status is Status.SUCCEEDED for job in jobs)
    recovered_s = [
        _first(system.claims(jobs[3]), Loss(job=jobs[3], killed_at=struck[0]["at"], counts=system.counts(jobs[3])))
    ]
    row.close(system, jobs, injected=len(struck), recovered_s=[each for each in recovered_s if each is not None])
