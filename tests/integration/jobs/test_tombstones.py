"""What is canceled before its message has become a job is one that never runs: and nobody else's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from jobs import names
from jobs.errors import JobNotFound
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import MakeJob

AHEAD = "a Celery message with this id that comes within a day will not run"


def cancel(table: JobTable, job_id: str, scope: str | None = None) -> str:
    """Of one that is not there; what is answered."""
    with pytest.raises(JobNotFound) as caught:
        table.cancel_and_show(job_id, scope=scope)
    return str(caught.value)


def comes(table: JobTable, a_job: MakeJob, caller: str = "default", *, job_id: str = "a-job") -> Status | str:
    """As a message from outside."""
    table.submit(replace(a_job(caller=caller, tag="token:0 gpu.shapes-flow"), job_id=job_id))
    return table.get(job_id).status


@pytest.mark.parametrize("caller", ["default", "blog"])
def test_whoever_operates_the_system_cancels_whosever_message_comes(
    table: JobTable, a_job: MakeJob, caller: str
) -> None:
    assert AHEAD in cancel(table, "a-job")
    assert comes(table, a_job, caller) is Status.CANCELED


def test_caller_with_a_key_cancels_his_own_messages_alone(table: JobTable, a_job: MakeJob) -> None:
    for job_id in ("a-job", "another"):
        assert AHEAD in cancel(table, job_id, "blog")
    assert comes(table, a_job, "shop") is Status.QUEUED
    assert comes(table, a_job, "blog", job_id="another") is Status.CANCELED


def test_caller_with_a_key_sees_and_cancels_no_job_of_another_s(table: JobTable, a_job: MakeJob) -> None:
    assert comes(table, a_job, "shop") is Status.QUEUED
    there, not_there = cancel(table, "a-job", "blog"), cancel(table, "nothing", "blog")
    assert there.replace("a-job", "nothing") == not_there
    assert table.get("a-job").status is Status.QUEUED


def test_caller_with_a_key_keeps_no_more_than_so_many_ids_in_redis(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    for number in range(1_010):
        cancel(table, f"job-{number}", "blog")
    assert redis_client.zcard(names.tombstones_key("blog")) == 1_000
    assert not list(redis_client.scan_iter(names.tombstone_key("*")))
    assert 0 < redis_client.ttl(names.tombstones_key("blog")) <= 86_400
    assert comes(table, a_job, "blog", job_id="job-0") is Status.QUEUED
    assert comes(table, a_job, "blog", job_id="job-1009") is Status.CANCELED


def test_what_was_canceled_ahead_holds_for_a_day(table: JobTable, a_job: MakeJob, redis_client: redis.Redis) -> None:
    cancel(table, "a-job", "blog")
    redis_client.zadd(names.tombstones_key("blog"), {"a-job": 1.0})
    assert comes(table, a_job, "blog") is Status.QUEUED


def test_job_of_ours_has_no_message_that_could_be_canceled(table: JobTable, a_job: MakeJob) -> None:
    """Nobody chooses its id; it is there before anybody has heard of it."""
    cancel(table, "a-job")
    table.submit(replace(a_job(), job_id="a-job"))
    assert table.get("a-job").status is Status.QUEUED


def test_id_that_no_job_can_have_is_not_remembered(table: JobTable, redis_client: redis.Redis) -> None:
    assert AHEAD not in cancel(table, "with spaces")
    assert not redis_client.exists(names.tombstone_key("with spaces"))
