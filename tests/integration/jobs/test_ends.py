"""The stream of all ends: each once, whichever way a job ended, and no more than it may keep."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import cast

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.errors import InvalidRequest, JobNotFound
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import QUEUE, MakeJob, claim, let_lease_run_out, submit

KEPT, AT_ONCE = 10_000, 100  # ends; Redis lets go of so many at a time
BROKE = {"code": "generation_error", "message": "it broke"}


def ends(client: redis.Redis) -> list[tuple[str, str]]:
    """Each end in the stream, in its order: of which job, and how."""
    found = cast("list[tuple[str, dict[str, str]]]", client.xrange(names.ENDS))
    assert {each["queue"] for _, each in found} <= {QUEUE}
    assert {each["caller"] for _, each in found} <= {"default", "celery"}
    return [(each["id"], each["status"]) for _, each in found]


def test_each_end_of_those_who_run_jobs_is_told_once(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    expected = []
    for status in (Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED):
        (job_id,) = submit(table, a_job())
        held = claim(table, job_id)
        if status is Status.CANCELED:
            table.cancel(job_id)
        for _ in range(2):
            table.finish(held, status, error=BROKE if status is Status.FAILED else None)
        expected.append((job_id, str(status)))
    (given_back,) = submit(table, a_job())
    held = claim(table, given_back)
    table.cancel(given_back)
    table.give_back(held)
    assert ends(redis_client) == [*expected, (given_back, "canceled")]


def test_each_end_of_jobs_that_nobody_runs_is_told_once(
    table: JobTable, reconciler: Reconciler, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    waiting, late, late_at_claim, lost = submit(
        table, a_job(), a_job(start_deadline=60), a_job(start_deadline=60), a_job()
    )
    refused, known = str(uuid.uuid4()), str(uuid.uuid4())
    for _ in range(2):
        table.cancel(waiting)
        table.reject(refused, request={}, queue=QUEUE, error=InvalidRequest("n", "must be at least 1"))
    redis_client.hset(names.job_key(late_at_claim), "start_by", 1)
    assert table.claim(late_at_claim, owner="a worker")[0] is None
    with pytest.raises(JobNotFound):
        table.cancel(known, remembers=True)
    table.submit(replace(a_job(tag="a tag"), job_id=known))
    redis_client.hset(names.job_key(late), "start_by", 1)
    redis_client.zadd(names.DEADLINES, {late: 1})
    redis_client.hset(names.job_key(lost), "attempts", 3)
    claim(table, lost)
    let_lease_run_out(redis_client, lost)
    for _ in range(2):
        reconciler.run_once()
    found = ends(redis_client)
    assert sorted(found) == sorted(
        [
            *((waiting, "canceled"), (refused, "failed"), (late_at_claim, "expired")),
            *((known, "canceled"), (late, "expired"), (lost, "failed")),
        ]
    )


def test_replayed_job_ends_anew(
    table: JobTable, control: QueueControl, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    (job_id,) = submit(table, a_job())
    table.finish(claim(table, job_id), Status.FAILED, error=BROKE)
    control.replay(job_id)
    assert ends(redis_client) == [(job_id, "failed")]
    table.finish(claim(table, job_id), Status.SUCCEEDED)
    assert ends(redis_client) == [(job_id, "failed"), (job_id, "succeeded")]


def test_the_oldest_are_forgotten(table: JobTable, a_job: MakeJob, redis_client: redis.Redis) -> None:
    with redis_client.pipeline(transaction=False) as many:
        for number in range(KEPT + AT_ONCE):
            many.xadd(names.ENDS, {"id": f"old-{number}", "status": "succeeded", "queue": QUEUE, "caller": "default"})
        many.execute()
    (job_id,) = submit(table, a_job())
    table.finish(claim(table, job_id), Status.SUCCEEDED)
    found = ends(redis_client)
    assert KEPT <= len(found) <= KEPT + AT_ONCE
    assert found[0] != ("old-0", "succeeded")
    assert found[-1] == (job_id, "succeeded")
