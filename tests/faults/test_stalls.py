"""Workers that stand still and go on later, and workers whose clock is wrong."""

from __future__ import annotations

import signal

from jobs.table.states import Status
from tests.faults.conftest import MakeSystem
from tests.faults.harness.rows import Row
from tests.faults.harness.system import System
from tests.faults.harness.waiting import until


def test_sigstop_of_a_worker_for_longer_than_its_lease_then_sigcont(make_system: MakeSystem, row: Row) -> None:
    system = make_system({"IMAGEMILL_LEASE_S": "5"})
    sleeper = system.worker({"slow_ends": {"seconds": 0.5}})
    system.ready()
    jobs = system.submit(4, steps=10)
    until("a picture is on its way to the store", lambda: any(system.counts(job).stage == "upload" for job in jobs))
    pid = sleeper.signal_child(signal.SIGSTOP)
    stopped_at = system.now()
    taken = [job for job in jobs if not job.status().has_ended]
    try:
        system.run_workers(1)
        system.finish(jobs)
        assert all(len(system.claims(job)) == 2 for job in taken)
    finally:
        sleeper.signal_child(signal.SIGCONT)
    assert sleeper.child_pid == pid, "the stopped process was another"
    until("the late worker was refused", lambda: sleeper.printed("job taken by another attempt") == len(taken))
    until("late attempts are refunded", lambda: all(system.counts(job).attempts == 1 for job in jobs))
    assert all(job.status().status is Status.SUCCEEDED for job in jobs)
    late = [job for job in taken if len({key.split("/")[4] for key in system.objects(job)}) > 1]
    row.note(pictures_stored_late=len(late))
    recovered_s = [system.claims(job)[1] - stopped_at for job in taken]
    row.close(system, jobs, injected=len(taken), recovered_s=recovered_s)


def test_clock_of_one_worker_is_1_h_off(system: System, row: Row) -> None:
    wrong = [system.worker({"shift_clock": {"seconds": 3600}}), system.worker({"shift_clock": {"seconds": -3600}})]
    system.run_workers(1)
    system.ready()
    jobs = system.submit(60, deadline=300)
    owners: set[str | None] = set()

    def all_worked() -> bool:
        owners.update(system.counts(job).owner for job in jobs)
        return all(worker.owner in owners for worker in wrong)

    until("the workers with wrong clocks had jobs", all_worked)
    system.finish(jobs)
    assert all(job.status().status is Status.SUCCEEDED for job in jobs)
    assert all(len(system.claims(job)) == 1 for job in jobs)
    row.close(system, jobs, injected=len({note["pid"] for note in system.evidence("shift_clock")}))
