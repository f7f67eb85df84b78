"""Redis that loses replies, connections, messages, memory, its process, or its last writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from jobs.errors import RedisFull
from jobs.names import line_of
from jobs.table.states import Status
from ops.servers import RedisServer
from tests.faults.conftest import MakeSystem
from tests.faults.harness.proxy import TcpProxy
from tests.faults.harness.rows import Row
from tests.faults.harness.system import QUEUE, System
from tests.faults.harness.waiting import until

AWAY_S = 8.0


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    proxy = TcpProxy()
    yield proxy
    proxy.close()


def succeeded(system: System) -> int:
    return sum(worker.printed("status=succeeded") for worker in system.workers)


def stay_away(seconds: float) -> None:
    began = time.monotonic()
    until(f"{seconds:g} s have passed", lambda: time.monotonic() - began >= seconds)


def test_reply_to_a_script_is_lost_and_the_script_sent_twice(
    make_system: MakeSystem, proxy: TcpProxy, row: Row
) -> None:
    system = make_system(proxy.env)
    proxy.upstream = system.redis_server.port or 0
    system.run_workers(2)
    proxy.lose_every = 7
    jobs = [job for _ in range(10) for job in system.submit(4)]
    system.finish(jobs)
    proxy.lose_every = 0
    assert proxy.lost >= 20
    assert len({job.id for job in jobs}) == 40
    assert [system.counts(job).epoch for job in jobs] == [1] * 40
    row.close(system, jobs, injected=proxy.lost)


def test_all_client_connections_are_killed_under_load(system: System, row: Row) -> None:
    system.run_workers(2)
    jobs = system.submit(40, steps=10)
    killed = 0
    for done in (1, 5, 10, 15, 20, 30):
        until(f"{done} jobs are done", lambda done=done: succeeded(system) >= done)  # type: ignore[misc]
        killed += int(system.redis.client_kill_filter(_type="normal", skipme=True))
    system.finish(jobs)
    assert killed >= 6 * len(system.workers)
    assert [system.counts(job).epoch for job in jobs] == [1] * 40
    row.close(system, jobs, injected=killed)


def test_redis_is_restarted_and_8_s_away(system: System, row: Row) -> None:
    system.run_workers(2)
    jobs = system.submit(40, steps=20)
    until("jobs are running, and some are done", lambda: succeeded(system) >= 2)
    running = system.counts_of_queue().running
    system.redis_server.stop()
    stay_away(AWAY_S)
    system.redis_server.start()
    system.redis_server.wait_until_ready()
    back = time.monotonic()
    done = succeeded(system)
    until("workers go on", lambda: succeeded(system) > done)
    recovered_s = time.monotonic() - back
    system.finish(jobs)
    assert running > 0
    assert [len({key.rsplit("/", 1)[0] for key in system.objects(job)}) for job in jobs] == [1] * 40
    row.close(system, jobs, injected=running, recovered_s=[recovered_s])


def test_redis_fails_over_to_a_replica_that_misses_the_last_second(
    make_system: MakeSystem, proxy: TcpProxy, row: Row, tmp_path: Path
) -> None:
    system = make_system(proxy.env)
    proxy.upstream = system.redis_server.port or 0
    replication = TcpProxy()
    replication.upstream = proxy.upstream
    with RedisServer(tmp_path / "replica") as server, redis.Redis.from_url(server.url) as replica:
        try:
            replica.replicaof("127.0.0.1", replication.port)
            until("the replica follows", lambda: replica.info("replication").get("master_link_status") == "up")
            system.run_workers(2)
            kept = system.submit(30, steps=10)
            until("some jobs are done", lambda: succeeded(system) >= 4)
            primary_offset = system.redis.info("replication")["master_repl_offset"]
            until(
                "the replica has the submissions",
                lambda: replica.info("replication")["slave_repl_offset"] >= primary_offset,
            )
            replication.frozen.set()
            done = succeeded(system)
            late = system.submit(5, steps=10)
            stay_away(1.0)
            until("jobs end that the replica does not hear of", lambda: succeeded(system) >= done + 2)
            missed = system.redis.info("replication")["master_repl_offset"]
            missed -= replica.info("replication")["slave_repl_offset"]
            replica.replicaof("NO", "ONE")
            proxy.switch(server.port or 0)
            system.redis_server.stop()
            failed_over = time.monotonic()
            vanished = [job for job in late if not system.redis.exists(f"imagemill:job:{job.id}")]
            left = [*kept, *(job for job in late if job not in vanished)]
            system.finish(left)
            again = sum(system.counts(job).epoch > 1 or len(system.objects(job)) > 2 for job in left)
            row.note(bytes_of_writes_missed=missed, vanished=len(vanished), ran_again=again)
            assert missed > 0
            assert {job.status().status for job in left} == {Status.SUCCEEDED}
            row.close(system, left, injected=missed, recovered_s=[time.monotonic() - failed_over])
        finally:
            replication.close()


def test_keys_of_the_broker_are_deleted_before_and_while_workers_run(system: System, row: Row) -> None:
    jobs = system.submit(30, steps=5)
    deleted = delete_keys_of_the_broker(system)
    system.run_workers(2)
    until("the lost messages were sent again", lambda: succeeded(system) >= 5)
    more = system.submit(30, steps=10)
    deleted += delete_keys_of_the_broker(system)
    began = time.monotonic()
    system.finish([*jobs, *more])
    recovered_s = time.monotonic() - began
    last = system.submit(3)  # The broker itself goes on as well.
    system.finish(last)
    row.close(system, [*jobs, *more, *last], injected=deleted, recovered_s=[recovered_s])


def delete_keys_of_the_broker(system: System) -> int:
    """Returns how many messages were lost."""
    keys = [key for key in system.redis.scan_iter("*") if not key.startswith("imagemill:")]
    messages = sum(system.redis.llen(key) for key in keys if key.startswith(line_of(QUEUE)))
    assert system.redis.delete(*keys) > 0
    return messages


def test_redis_is_at_maxmemory(system: System, row: Row) -> None:
    system.run_workers(1)
    jobs = system.submit(16, steps=30)
    until("jobs are running", lambda: system.counts_of_queue().running >= 4)
    system.redis.config_set("maxmemory", int(system.redis.info("memory")["used_memory"] * 0.9))
    held = system.held_by(system.workers[0].owner)
    refused = system.cli("submit", "a test picture", "--json")
    assert refused.returncode == 3
    assert "maxmemory" in refused.stdout
    with pytest.raises(RedisFull, match=rf"{system.redis_server.port}.*full"):
        system.submit(1)
    running = [job for job in jobs if job.id in held]
    system.finish(running)
    assert {job.status().status for job in running} == {Status.SUCCEEDED}
    assert [system.counts(job).epoch for job in running] == [1] * len(running)
    system.redis.config_set("maxmemory", 0)
    began = time.monotonic()
    system.finish(jobs)
    assert system.workers[0].exit_code is None
    assert not system.workers[0].printed("starting another")
    row.note(ran_in_a_full_redis=len(running))
    row.close(system, jobs, injected=len(running), recovered_s=[time.monotonic() - began])
