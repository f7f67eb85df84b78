"""A worker of several processes: all take jobs, and one that is killed costs none."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import redis
from rich.console import Console

from jobs import names
from jobs.table.states import Status
from ops.bench.system.system import system_for_a_while
from ops.process import wait_until
from producer import Client, Job
from tests.processes import is_alive
from tests.system.conftest import DEADLINE_S
from tests.warm.popen import cold

ENV = {"IMAGEMILL_WORKER_PROCESSES": "2", "IMAGEMILL_WORKER_CONCURRENCY": "4", "IMAGEMILL_LEASE_S": "2"}


def owner_of(client: redis.Redis, job: Job) -> str | None:
    found: str | None = client.hget(names.job_key(job.id), "owner")  # type: ignore[assignment]
    return found


def submit(client: Client, count: int, steps: int) -> list[Job]:
    return client.submit_many({"prompt": "a red circle", "num_inference_steps": steps} for _ in range(count))


@pytest.mark.long  # A system of its own, started as a user does; test_supervise.py has the parent's part.
def test_all_processes_take_jobs_and_one_that_is_killed_loses_none(tmp_path: Path) -> None:
    env = ENV | {"IMAGEMILL_WORKER_CACHE_DIR": str(tmp_path)}
    with (
        cold(),
        system_for_a_while(Console(quiet=True), env) as client,
        redis.Redis.from_url(client.parts.settings.redis_url, decode_responses=True) as redis_client,
    ):
        started = {each.name: each.started_at for each in client.workers()}
        assert len(started) == 2
        jobs = submit(client, 24, steps=4)
        assert {job.wait(DEADLINE_S).status for job in jobs} == {Status.SUCCEEDED}
        assert {owner_of(redis_client, job) for job in jobs} == started.keys()

        jobs = submit(client, 16, steps=40)
        assert wait_until(lambda: {owner_of(redis_client, job) for job in jobs} >= started.keys(), DEADLINE_S)
        victim = owner_of(redis_client, jobs[0]) or ""
        pid = process_named(victim)
        os.kill(pid, signal.SIGKILL)
        assert {job.wait(DEADLINE_S).status for job in jobs} == {Status.SUCCEEDED}
        assert not is_alive(pid)

        def started_again() -> set[str]:
            return {each.name for each in client.workers() if each.started_at != started[each.name]}

        assert wait_until(lambda: started_again() == {victim}, DEADLINE_S)  # Its name is its own again.
        assert {each.name for each in client.workers()} == started.keys()


def process_named(worker: str) -> int:
    """The process id of one of a worker's processes."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        if f"--hostname={worker}" in command.read_bytes().decode(errors="replace").split("\0"):
            return int(command.parent.name)
    raise AssertionError(f"no process is {worker}")
