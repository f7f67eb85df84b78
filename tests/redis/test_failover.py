"""The Redis that everything stands on dies in the middle of the work, and the Sentinels choose another."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from jobs.broker.app import make_app
from jobs.errors import RedisUnavailable
from jobs.names import GENERATE_TASK
from jobs.table.states import Status
from producer import AsyncClient, Job
from tests.faults.harness.audit import audit
from tests.faults.harness.system import MODEL, QUEUE, System
from tests.faults.harness.waiting import until
from tests.redis.conftest import Behind
from tests.redis.servers import MASTER, Cluster, program_with_tls

T = TypeVar("T")

DOORS = ["sentinels with tls" if program_with_tls() else "sentinels"]

# Where the other side is killed between connect and TLS' handshake, CPython 3.11's SSLSocket._create leaves its socket
# to the garbage collector. The warning comes where no line of code is, of which pytest 9.2 makes an internal error.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")


@pytest.mark.parametrize("door", DOORS)
def test_stream_of_jobs_goes_on_by_itself(
    behind: Behind, door: str, record_property: Callable[[str, object], None]
) -> None:
    system, cluster = behind(door)
    assert cluster is not None
    system.run_workers(2)
    jobs = system.submit(30, steps=10)
    until("jobs are running, and some are done", lambda: succeeded(system) >= 4)
    wait_for_the_replica(system, cluster)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(jobs[-1].wait, 120)  # Its turn comes after the others'.
        kill_the_primary(cluster)
        killed = time.monotonic()
        jobs += [submit_until_taken(system, number) for number in range(30)]
        taken_again_s = time.monotonic() - killed
        system.finish(jobs)
        assert waiting.result().status is Status.SUCCEEDED
    assert {job.status().status for job in jobs} == {Status.SUCCEEDED}
    assert len({job.id for job in jobs}) == 60
    audit(system, jobs)
    assert not any(worker.printed("starting another") for worker in system.workers), "a worker ended"
    bring_back_the_dead(cluster)
    last = system.submit(4)
    system.finish(last)
    audit(system, last)
    record_property("taken_again_s", round(taken_again_s, 1))


def test_waiting_client_hears_of_a_job_that_ends_behind_the_next_redis(behind: Behind) -> None:
    system, cluster = behind("sentinels")
    assert cluster is not None
    found = cluster

    async def cancel_behind_the_next() -> str:
        async with AsyncClient(system.settings, system.client.parts.store.settings) as client:
            job = await client.submit("a picture", model="sim")
            waiting = asyncio.create_task(job.wait(timeout_s=60))
            await asyncio.to_thread(until, "it is subscribed", lambda: subscribers(found, job.id) > 0)
            wait_for_the_replica(system, found)
            await asyncio.to_thread(fail_over, found)
            await asyncio.to_thread(until, "it is subscribed again", lambda: subscribers(found, job.id) > 0)
            await job.cancel()
            return (await waiting).status

    assert asyncio.run(cancel_behind_the_next()) is Status.CANCELED


def test_senders_with_celery_alone_hear_from_the_next_redis(behind: Behind) -> None:
    system, cluster = behind("sentinels")
    assert cluster is not None
    system.run_workers(2)
    with make_app(system.settings) as app:
        sent = [send(app) for _ in range(30)]
        until("some are done", lambda: succeeded(system) >= 4)
        wait_for_the_replica(system, cluster)
        kill_the_primary(cluster)
        sent += [until("a Redis takes messages", lambda: unless_away(lambda: send(app))) for _ in range(10)]
        states = [until(f"{task_id} has an end", lambda task_id=task_id: end_of(app, task_id)) for task_id in sent]  # type: ignore[misc]
    assert set(states) == {"SUCCESS"}
    audit(system, [system.client.job(task_id) for task_id in sent])


def send(app: Celery) -> str:
    fields = {"prompt": "a picture", "model": MODEL, "num_inference_steps": 10}
    return str(app.send_task(GENERATE_TASK, kwargs=fields, queue=QUEUE, ignore_result=False).id)


def end_of(app: Celery, task_id: str) -> str | None:
    state = unless_away(lambda: str(app.AsyncResult(task_id).state))
    return state if state in ("SUCCESS", "FAILURE", "REVOKED") else None


def unless_away(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except (redis.exceptions.RedisError, OperationalError):
        return None


def succeeded(system: System) -> int:
    return sum(worker.printed("status=succeeded") for worker in system.workers)


def wait_for_the_replica(system: System, cluster: Cluster) -> None:
    """What was written until now has reached the replica: what nobody has had time to copy is lost with a Redis."""
    with cluster.client(cluster.primary_port()) as primary:
        primary.set("barrier", "here")
        assert until("the replica has it", lambda: primary.wait(1, 500)) == 1
    del system


def kill_the_primary(cluster: Cluster) -> None:
    """SIGKILL; returns when the Sentinels have not noticed yet."""
    pid = cluster.primary().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def submit_until_taken(system: System, number: int) -> Job:
    """As a service does that lost its Redis: again and again, under one key."""

    def attempt() -> Job | None:
        try:
            return system.submit(1, idempotency_key=f"stream-{number}")[0]
        except RedisUnavailable:
            return None

    return until("a Redis takes jobs", attempt)


def bring_back_the_dead(cluster: Cluster) -> None:
    """The killed Redis starts again as the primary that it was, and the Sentinels make it follow."""
    for server in cluster.redises:
        if server.exit_code is not None:
            server.stop()
            server.start()
            server.wait_until_ready()
    until("it follows the other", cluster.is_whole)


def fail_over(cluster: Cluster) -> None:
    """Ask the Sentinels for another Redis, as an operator does before an upgrade."""
    before = cluster.primary_port()
    with cluster.client(cluster.sentinels[0].port) as sentinel:
        sentinel.execute_command("SENTINEL", "FAILOVER", MASTER)
    until("the Sentinels name another", lambda: cluster.primary_port() != before)
    until("it is whole again", cluster.is_whole)


def subscribers(cluster: Cluster, job_id: str) -> int:
    with cluster.client(cluster.primary_port()) as primary:
        return int(primary.pubsub_numsub(f"imagemill:news:{job_id}")[0][1])
