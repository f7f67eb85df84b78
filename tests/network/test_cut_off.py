"""A worker's host loses Redis, and nothing else, for longer than its jobs' leases hold; then it is there again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.table.states import Status
from producer import Job
from tests.faults.harness.load import Load
from tests.faults.harness.rows import Row
from tests.faults.harness.waiting import until
from tests.network.system import NetworkSystem, WorkerOnHost

STAGES = {"encode", "generate", "postprocess", "upload"}
SLOTS = 16  # of the victim. With fewer, its 4 running jobs and slow ends may take turns, and no moment has all stages.
IN_FLIGHT = 40
LONG_S = 45.0  # Half a minute is the longest that a socket is given, Celery's.
BACK_S = 45.0  # Celery looks after a connection that is silent every 15 s, and gives it another 30 s.


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """
    What the worker held when it was cut off.

    Attributes:
        begun: Those that the engine had.
        stages: How many were where.
    """

    jobs: list[Job]
    begun: list[Job]
    stages: Counter[str]


def test_worker_cut_off_from_redis_for_longer_than_its_lease_then_joined(system: NetworkSystem, row: Row) -> None:
    cut_off_and_join(system, row)


def test_worker_cut_off_for_longer_than_any_timeout_and_forgotten_by_redis_then_joined(
    system: NetworkSystem, row: Row
) -> None:
    cut_off_and_join(system, row, away_s=LONG_S, forget=True)


def cut_off_and_join(system: NetworkSystem, row: Row, *, away_s: float = 0.0, forget: bool = False) -> None:
    victim = start_workers(system)
    load = Load(system, IN_FLIGHT)
    loss = cut_off(system, victim, load)
    cut_at, pid = system.now(), victim.child_pid
    until("all that it held was claimed elsewhere", lambda: all(len(system.claims(job)) == 2 for job in loss.jobs))
    until("it has stored what it had begun", lambda: all(is_stored_twice(system, job) for job in loss.begun))
    until(f"it was away for {away_s:g} s", lambda: system.now() >= cut_at + away_s)
    forgotten = system.forget_connections_of(victim.host) if forget else 0

    system.network.join(victim.host, system.network.redis)
    joined_at = system.now()
    until("it takes jobs again", lambda: load.top_up() and claimed_by(system, victim, load.jobs, joined_at), BACK_S)
    back_s = min(claimed_by(system, victim, load.jobs, joined_at)) - joined_at
    until("its late writes were refused", lambda: victim.printed("job taken by another attempt") == len(loss.jobs))
    system.finish(load.jobs)

    assert victim.child_pid == pid, "another process came back in its place"
    assert {job.status().status for job in load.jobs} == {Status.SUCCEEDED}
    until("late attempts are refunded", lambda: all(system.counts(job).attempts == 1 for job in loss.jobs))
    recovered_s = [system.claims(job)[1] - cut_at for job in loss.jobs]
    row.note(lost_in=loss.stages, stored_late=len(loss.begun), connections_forgotten=forgotten, back_s=round(back_s, 1))
    row.close(system, load.jobs, injected=len(loss.jobs), recovered_s=recovered_s)
    assert forget is (forgotten > 0)


def start_workers(system: NetworkSystem) -> WorkerOnHost:
    """Three, each on a host of its own; returns the one that will be cut off."""
    slow = {"slow_ends": {"seconds": 2.0}, "slow_encode": {"seconds": 0.3}}
    victim = system.worker_on(system.network.host(), slow, {"IMAGEMILL_WORKER_CONCURRENCY": str(SLOTS)})
    for _ in range(2):
        system.worker_on(system.network.host())
    system.ready()
    return victim


def cut_off(system: NetworkSystem, victim: WorkerOnHost, load: Load) -> Loss:
    """Pull the cable when the worker has jobs in every stage; again, if one moved on meanwhile."""
    owner = victim.owner
    while True:
        until("it has jobs in every stage", lambda: load.top_up() and set(held_in(system, owner).values()) >= STAGES)
        system.network.cut(victim.host, system.network.redis)
        held = held_in(system, owner)
        if set(held.values()) >= STAGES:
            begun = [system.client.job(job_id) for job_id, stage in held.items() if stage in STAGES]
            jobs = [system.client.job(job_id) for job_id in held]
            return Loss(jobs=jobs, begun=begun, stages=Counter(held.values()))
        system.network.join(victim.host, system.network.redis)


def held_in(system: NetworkSystem, owner: str) -> dict[str, str]:
    """Ids of the jobs that a worker holds, and the stage of each."""
    ids = system.held_by(owner)
    return {job_id: system.counts(system.client.job(job_id)).stage or "claimed" for job_id in ids}


def is_stored_twice(system: NetworkSystem, job: Job) -> bool:
    return len({key.split("/")[4] for key in system.objects(job) if key.endswith("job.json")}) == 2


def claimed_by(system: NetworkSystem, worker: WorkerOnHost, jobs: Sequence[Job], since: float) -> list[float]:
    """When a worker claimed jobs since then, of those that it was the last to claim."""
    owned = [job for job in jobs if system.counts(job).owner == worker.owner]
    return [at for job in owned if (at := system.claims(job)[-1]) > since]
