"""Messages that come twice, get lost on their way, or were never sent."""

from __future__ import annotations

import json

from jobs import names
from jobs.broker.app import make_app
from jobs.scripts.ranks import LINE
from producer import Job
from tests.faults.harness.rows import Row
from tests.faults.harness.system import QUEUE, System
from tests.faults.harness.waiting import on_this_machine, until

BOUND_S = 60.0
RELEASED = 8  # at a time, of a queue that no worker reads


def test_same_message_delivered_5_times_at_once_to_3_workers_makes_one_run(system: System, row: Row) -> None:
    workers = system.run_workers(3)
    with make_app(system.settings) as app:
        for worker in workers:
            app.control.cancel_consumer(QUEUE, destination=[worker.owner], reply=True, timeout=10)
        jobs = system.submit(RELEASED)
        for job in jobs:
            for _ in range(4):
                app.send_task(names.RUN_TASK, task_id=job.id, queue=names.line_of(QUEUE), priority=LINE)
        delivered = _messages(system)
        assert sorted(delivered) == sorted([job.id for job in jobs] * 5)
        app.control.add_consumer(QUEUE)
    system.finish(jobs)
    until("all messages were delivered", lambda: not _messages(system))
    assert all(len(system.claims(job)) == 1 for job in jobs)
    row.note(workers=len(workers))
    row.close(system, jobs, injected=len(delivered) - len(jobs))


def test_sigkill_between_the_queue_pop_and_the_claim(system: System, row: Row) -> None:
    kills = 3
    faulty = [system.worker({"kill_before_claim": {"times": kills}}, alone=True) for _ in range(kills)]
    system.run_workers(1)
    system.ready()
    jobs: list[Job] = []

    def all_dead() -> bool:
        jobs.extend(system.submit(1))
        return all(worker.exit_code is not None for worker in faulty)

    until("each faulty worker has popped a job and died", all_dead)
    system.finish(jobs)
    struck = system.evidence("kill_before_claim")
    recovered_s = [system.claims(system.client.job(each["job_id"]))[0] - each["at"] for each in struck]
    assert max(recovered_s) < on_this_machine(BOUND_S)
    row.close(system, jobs, injected=len(struck), recovered_s=recovered_s)


def test_submitter_killed_between_the_table_and_the_publish(system: System, row: Row) -> None:
    system.run_workers(1)
    for _ in range(3):
        killed = system.cli("submit", "a test picture", faults={"kill_before_publish": {}})
        assert killed.returncode == -9, killed.stderr
    struck = system.evidence("kill_before_publish")
    jobs = [system.client.job(job_id) for each in struck for job_id in each["job_ids"]]
    assert len(jobs) == len(struck) == 3
    system.finish(jobs)
    recovered_s = [system.claims(job)[0] - each["at"] for job, each in zip(jobs, struck, strict=True)]
    assert max(recovered_s) < on_this_machine(BOUND_S)
    row.close(system, jobs, injected=len(struck), recovered_s=recovered_s)


def _messages(system: System) -> list[str]:
    """Job ids of the messages that stand in the broker, by kombu's lists of each priority."""
    lists = list(system.redis.scan_iter(f"{names.line_of(QUEUE)}*", _type="list"))
    messages = [message for each in lists for message in system.redis.lrange(each, 0, -1)]
    return [json.loads(message)["headers"]["id"] for message in messages]
