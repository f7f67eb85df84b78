"""The work list of deleted results, on a connection that sends everything twice, too."""

from __future__ import annotations

import json

import pytest
import redis

from jobs import names
from jobs.deletions.deletions import WATCH_S, Deletions
from jobs.errors import InvalidRequest
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import QUEUE, MakeJob, claim, submit

PICTURE = {"key": "a/0.png", "thumbnail_key": "a/0.thumb.webp", "content_type": "image/png", "bytes": 7, "sha256": "00"}
OTHER = {"key": "a/1.txt", "content_type": "text/plain", "bytes": 7, "sha256": "00", "seed": 2**63 - 1}


@pytest.fixture
def deletions(connection: redis.Redis, settings: Settings) -> Deletions:
    return Deletions(connection, settings)


@pytest.fixture
def done(table: JobTable, a_job: MakeJob) -> str:
    (job_id,) = submit(table, a_job())
    table.finish(claim(table, job_id), Status.SUCCEEDED, artifacts=[PICTURE, OTHER])
    return job_id


def let_pass(client: redis.Redis, job_id: str, seconds: float) -> None:
    note = json.loads(str(client.hget(names.DELETION_NOTES, job_id)))
    note["since"] = str(float(note["since"]) - seconds)
    client.hset(names.DELETION_NOTES, job_id, json.dumps(note))
    client.zadd(names.DELETIONS, {job_id: 1.0})


def test_deleted_result_is_looked_for_until_it_is_gone_and_then_for_a_day(
    deletions: Deletions, table: JobTable, redis_client: redis.Redis, settings: Settings, done: str
) -> None:
    record = deletions.delete(done)
    assert (record.deletion, record.deleted_images, record.artifacts, record.payload) == ("deleting", 1, (), None)
    (leftover,) = deletions.take(10, 60)
    assert (leftover.job_id, leftover.queue, leftover.created_at) == (done, QUEUE, record.created_at)
    assert leftover.keys == ("a/0.png", "a/0.thumb.webp", "a/1.txt")
    assert deletions.take(10, 60) == []
    deletions.settle(leftover, 3)
    for seconds, deletion in ((0.0, "deleting"), (settings.lease_s, "gone"), (float(WATCH_S), "gone")):
        let_pass(redis_client, done, seconds)
        (leftover,) = deletions.take(10, 60)
        deletions.settle(leftover, 0)
        assert table.get(done).deletion == deletion
    assert (redis_client.zcard(names.DELETIONS), redis_client.hlen(names.DELETION_NOTES)) == (0, 0)


def test_look_that_failed_is_due_again_in_a_while(deletions: Deletions, redis_client: redis.Redis, done: str) -> None:
    deletions.delete(done)
    (leftover,) = deletions.take(10, 60)
    deletions.put_off(leftover, 3600)
    assert (redis_client.zscore(names.DELETIONS, done) or 0) > float(leftover.held_until)
    assert deletions.take(10, 60) == []


def test_results_of_ended_jobs_are_deleted_some_in_a_call(
    deletions: Deletions, table: JobTable, a_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.deletions.deletions._LOOK_AT", 2)
    monkeypatch.setattr("jobs.deletions.deletions._MOST_LOOKS", 1)
    ids = submit(table, *[a_job() for _ in range(3)])
    for job_id in ids:
        table.cancel(job_id)
    first = deletions.delete_ended("default", [Status.CANCELED])
    assert first.job_ids == tuple(ids[:2])
    second = deletions.delete_ended("default", [Status.CANCELED], cursor=first.cursor)
    assert (second.job_ids, second.cursor) == (tuple(ids[2:]), None)
    assert deletions.delete_ended("default", [Status.FAILED]).job_ids == ()
    with pytest.raises(InvalidRequest, match="cursor"):
        deletions.delete_ended(cursor="x")
