"""A result is deleted while an attempt that has lost its job still uploads: nothing of it is left in the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from jobs.table.states import Status
from producer import Job
from tests.faults.conftest import MakeSystem
from tests.faults.harness.proxy import TcpProxy
from tests.faults.harness.rows import Row
from tests.faults.harness.s3_proxy import S3Proxy
from tests.faults.harness.system import System
from tests.faults.harness.waiting import until
from tests.words import MARK, in_redis

LEASE = {"IMAGEMILL_LEASE_S": "2"}


@pytest.fixture
def s3() -> Iterator[S3Proxy]:
    proxy = S3Proxy()
    yield proxy
    proxy.close()


@pytest.fixture
def way_to_redis() -> Iterator[TcpProxy]:
    proxy = TcpProxy()
    yield proxy
    proxy.close()


def said_in_redis(system: System) -> list[str]:
    with redis.Redis.from_url(system.redis_server.url) as client:
        return in_redis(client)


def is_gone(job: Job) -> bool:
    return job.status().result == "gone"


@pytest.mark.parametrize("end", ["cut_off", "killed"])
def test_result_is_deleted_while_a_lost_worker_uploads(
    make_system: MakeSystem, s3: S3Proxy, way_to_redis: TcpProxy, row: Row, end: str
) -> None:
    system = make_system(LEASE)
    s3.upstream, way_to_redis.upstream = system.s3_server.port or 0, system.redis_server.port or 0
    lost = system.worker(env={**s3.env, **way_to_redis.env})
    system.ready(lost)
    s3.let_through.clear()
    jobs = system.submit(3, prompt=f"a red {MARK}", metadata={"order": MARK})
    until("its first objects are on their way", lambda: s3.struck >= len(jobs))
    way_to_redis.frozen.set()
    system.ready(system.worker())
    system.finish(jobs)
    assert {job.status().status for job in jobs} == {Status.SUCCEEDED}
    assert said_in_redis(system), "the test would notice nothing"

    for job in jobs:
        job.delete_result()
    until("all is deleted", lambda: all(is_gone(job) for job in jobs))
    assert [system.objects(job) for job in jobs] == [[]] * len(jobs)
    if end == "killed":
        lost.kill()
    on_their_way = s3.struck
    s3.let_through.set()
    until("they are in the store after all", lambda: s3.landed == on_their_way)
    if end == "cut_off":
        way_to_redis.frozen.clear()
        until("it hears that it has lost them", lambda: lost.printed("job taken by another attempt") >= len(jobs))
    until("nothing is left of them", lambda: not any(system.objects(job) for job in jobs))
    assert said_in_redis(system) == []
    row.close(system, jobs, injected=on_their_way)
