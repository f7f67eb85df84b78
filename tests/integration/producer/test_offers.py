"""What is told of jobs that are written, when Redis takes no messages, no more jobs, or no more questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from jobs.errors import IdempotencyConflict, PartlySubmitted, RedisFull, RedisUnavailable, Retryable
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.view import view_of
from ops.servers import RedisServer
from producer import AsyncClient, Client
from storage.backends.s3.settings import S3Settings

PROMPT = "a large red circle on a blue background"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A server of this test alone, with a window of one job."""
    with RedisServer(tmp_path) as server:
        yield Settings(redis_url=server.url, release_window=1)


def limited(client: redis.Redis, settings: Settings, *rules: str) -> Settings:
    """As somebody who may use the job table, and send no messages."""
    told = ("reset", "on", ">secret", "~imagemill:*", "~gpu.*", "~_kombu*", "&*", "+@all", *rules)
    client.execute_command("ACL", "SETUSER", "limited", *told)  # type: ignore[no-untyped-call]
    return settings.model_copy(update={"redis_url": settings.redis_url.replace("//", "//limited:secret@")})


@pytest.fixture
def client(redis_client: redis.Redis, settings: Settings) -> Iterator[Client]:
    client = Client(limited(redis_client, settings), S3Settings())
    yield client
    client.close()


def messages(client: redis.Redis) -> int:
    return sum(client.llen(key) for key in client.scan_iter("run.*"))


def test_submission_gives_its_handle_though_no_message_can_be_sent(client: Client, redis_client: redis.Redis) -> None:
    job = client.submit(PROMPT)
    jobs = client.submit_many({"prompt": PROMPT} for _ in range(3))
    assert [each.status().status for each in (job, *jobs)] == [Status.QUEUED] * 4
    assert messages(redis_client) == 0


def test_what_else_releases_jobs_tells_what_was_done(client: Client) -> None:
    first, second, third = client.submit_many({"prompt": PROMPT} for _ in range(3))
    queue = first.status().queue
    assert first.cancel().status is Status.CANCELED
    client.parts.control.pause(queue)
    client.parts.control.resume(queue)
    assert client.parts.control.replay(first.id).status is Status.QUEUED
    assert client.parts.control.cancel_all(queue) == 3
    assert [each.status().status for each in (second, third)] == [Status.CANCELED] * 2


def test_answers_of_cancel_and_replay_are_the_records_as_they_are_then(client: Client) -> None:
    job = client.submit(PROMPT, seed=7)
    canceled = job.cancel()
    assert (canceled.status, canceled.spec and canceled.spec.seed) == (Status.CANCELED, 7)
    assert canceled == job.status() == job.cancel()
    assert view_of(client.parts.control.replay(job.id)) == job.status()


def test_record_of_a_job_that_was_entered_is_known_without_asking(
    redis_client: redis.Redis, settings: Settings
) -> None:
    client = Client(limited(redis_client, settings, "-hgetall"), S3Settings())
    submission = client.parts.submitter.prepare({"prompt": PROMPT, "seed": 7, "idempotency_key": "k"})
    job_id = client.parts.submitter.enter(submission)
    known = client.parts.submitter.entered(submission, job_id)
    again = client.parts.submitter.prepare({"prompt": PROMPT, "seed": 7, "idempotency_key": "k"})
    assert client.parts.submitter.enter(again) == job_id
    with pytest.raises(RedisUnavailable):
        client.parts.submitter.entered(again, job_id)  # It may have ended since.
    redis_client.execute_command("ACL", "SETUSER", "limited", "+hgetall")  # type: ignore[no-untyped-call]
    record = client.status(job_id)
    assert known.created_at == pytest.approx(record.created_at, abs=5)
    assert view_of(replace(known, created_at=0)) == record.model_copy(update={"created_at": 0})
    client.close()


def fill_but(client: redis.Redis, free: int) -> None:
    client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + free)


def test_jobs_that_are_queued_are_named_when_redis_fills_up(client: Client, redis_client: redis.Redis) -> None:
    redis_client.config_set("maxmemory", 1 << 30)
    client.submit(PROMPT)  # Asks for the memory, and remembers it for a second.
    fill_but(redis_client, 300_000)
    with pytest.raises(PartlySubmitted, match=r"\d+ of 1200 jobs are queued and will run; .* full") as partly:
        client.submit_many({"prompt": PROMPT, "seed": seed} for seed in range(1_200))
    redis_client.config_set("maxmemory", 0)
    queued = partly.value.queued
    known = [(seed, job_id) for seed, job_id in enumerate(queued) if job_id is not None]
    assert len(queued) == 1_200
    assert 0 < len(known) < 1_200
    assert [spec and spec.seed for spec in (client.status(job_id).spec for _, job_id in known)] == [n for n, _ in known]
    assert len(client.parts.table.statuses([job_id for _, job_id in known])) == redis_client.zcard("imagemill:jobs") - 1
    assert isinstance(partly.value, Retryable)
    assert isinstance(partly.value.__cause__, RedisFull)


def test_nothing_is_partly_submitted_where_nothing_is(client: Client, redis_client: redis.Redis) -> None:
    client.queues()
    fill_but(redis_client, 0)
    with pytest.raises(RedisFull):
        client.submit_many({"prompt": PROMPT} for _ in range(3))


def test_jobs_beside_a_conflict_are_named(client: Client) -> None:
    client.submit(PROMPT, idempotency_key="k")
    with pytest.raises(IdempotencyConflict) as conflict:
        client.submit_many([{"prompt": PROMPT}, {"prompt": "another", "idempotency_key": "k"}, {"prompt": PROMPT}])
    first, none, last = conflict.value.queued
    assert none is None
    assert client.parts.table.statuses([str(first), str(last)]) == [Status.QUEUED] * 2


@pytest.mark.anyio
async def test_coroutines_are_told_the_same(redis_client: redis.Redis, settings: Settings) -> None:
    async with AsyncClient(limited(redis_client, settings), S3Settings()) as client:
        job = await client.submit(PROMPT)
        assert (await job.cancel()).status is Status.CANCELED
