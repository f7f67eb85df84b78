"""The Python client for coroutines: the same answers as the other's, and one connection for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import redis

from jobs import names
from jobs.errors import IdempotencyConflict, InvalidRequest, JobFailed, JobNotFound, RedisUnavailable, WaitTimeout
from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.table.events import Event
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.process import free_port
from producer import AsyncClient, Client
from storage.backends.s3.settings import S3Settings
from tests.claims import claim_job

pytestmark = pytest.mark.anyio

DEADLINE_S = 60.0
PROMPT = "a large red circle on a blue background"
IMAGE = {"key": "k", "content_type": "image/png", "width": 8, "height": 8, "bytes": 1, "sha256": "0", "seed": 7}


@pytest.fixture
async def twin(settings: Settings, storage_settings: S3Settings) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(settings, storage_settings) as client:
        yield client


async def until(condition: Callable[[], bool]) -> None:
    """Give way to others until something is so."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


def ids(client: redis.Redis, job_id: str) -> list[str]:
    """Of all events of a job."""
    return [str(entry_id) for entry_id, _ in client.xrange(names.events_key(job_id)) or []]


def subscriptions(client: redis.Redis, job_id: str) -> int:
    return int(client.pubsub_numsub(names.news_channel(job_id))[0][1])


async def test_submitting_asking_and_canceling_are_as_in_the_other_client(
    twin: AsyncClient, client: Client, redis_client: redis.Redis
) -> None:
    job = await twin.submit(PROMPT, seed=7, idempotency_key="one")
    assert await job.status() == client.status(job.id)
    assert (await twin.submit(PROMPT, seed=7, idempotency_key="one")).id == job.id
    with pytest.raises(IdempotencyConflict):
        await twin.submit(PROMPT, seed=8, idempotency_key="one")
    with pytest.raises(InvalidRequest, match=r"^n: "):
        await twin.submit(PROMPT, n=0)
    many = await twin.submit_many({"prompt": f"{number} circles"} for number in range(3))
    assert [(await each.status()).status for each in many] == [Status.QUEUED] * 3
    assert await twin.queues() == client.queues()
    assert (await twin.workers(), len(many)) == ([], 3)
    assert (await job.cancel()).status is Status.CANCELED
    assert (await twin.job(job.id).wait()).status is Status.CANCELED
    with pytest.raises(JobFailed):
        await job.images()


async def test_job_that_is_not_there(twin: AsyncClient) -> None:
    job = twin.job("no-such-job")
    for call in (job.status, job.wait, job.cancel, job.images):
        with pytest.raises(JobNotFound):
            await call()
    with pytest.raises(JobNotFound):
        await anext(job.events())
    with pytest.raises(InvalidRequest, match="after"):
        await anext(job.events("yesterday"))


async def test_waiting_ends_with_the_job(twin: AsyncClient, table: JobTable, redis_client: redis.Redis) -> None:
    job = await twin.submit(PROMPT)
    waiting = [asyncio.create_task(job.wait()) for _ in range(100)]
    await until(lambda: subscriptions(redis_client, job.id) == 1)
    table.finish(claim_job(table, job.id), Status.SUCCEEDED, artifacts=[IMAGE])
    records = await asyncio.gather(*waiting)
    assert {record.status for record in records} == {Status.SUCCEEDED}
    assert [image.record.key for image in await job.images()] == ["k"]
    await until(lambda: subscriptions(redis_client, job.id) == 0)


async def test_waiting_has_an_end_of_its_own(twin: AsyncClient) -> None:
    job = await twin.submit(PROMPT)
    with pytest.raises(WaitTimeout, match=r"0\.1 s"):
        await job.wait(timeout_s=0.1)
    waiting = asyncio.create_task(job.wait())
    await asyncio.sleep(0)
    twin.loop.waiters.close()
    with pytest.raises(WaitTimeout):
        await waiting


async def test_events_are_whole_for_many_who_come_at_any_time(
    twin: AsyncClient, table: JobTable, redis_client: redis.Redis
) -> None:
    """Listeners that join between any two events, several at a time, and one that never reads until the end."""
    job = await twin.submit(PROMPT)
    claimed = claim_job(table, job.id)
    slow = twin.loop.waiters.follow(job.id)
    first = await anext(slow)
    listeners = []
    for step in range(400):
        if step % 20 == 0:
            listeners.append(asyncio.create_task(_all(job.events())))
        table.progress(claimed, Stage.GENERATE, step, 400)
        await asyncio.sleep(0)
    table.finish(claimed, Status.CANCELED)
    stored = ids(redis_client, job.id)
    for heard in await asyncio.gather(*listeners):
        assert [each.id for each in heard] == stored
    assert [first.id] + [each.id async for each in slow] == stored


async def test_leaving_and_coming_back_misses_nothing(
    twin: AsyncClient, table: JobTable, redis_client: redis.Redis
) -> None:
    job = await twin.submit(PROMPT)
    claimed = claim_job(table, job.id)
    heard: list[str] = []
    for step in range(50):
        table.progress(claimed, Stage.GENERATE, step, 50)
        async with _closing(twin.loop.waiters.follow(job.id, heard[-1] if heard else "0")) as events:
            heard.append((await anext(events)).id)
        if step % 3 == 0:
            await asyncio.sleep(0)
    table.finish(claimed, Status.CANCELED)
    heard += [each.id async for each in twin.loop.waiters.follow(job.id, heard[-1])]
    assert heard == ids(redis_client, job.id)


async def test_job_that_vanishes_ends_the_waiting_of_who_comes_later(
    twin: AsyncClient, redis_client: redis.Redis
) -> None:
    job = await twin.submit(PROMPT)
    redis_client.flushdb()
    assert await _all(twin.loop.waiters.follow(job.id)) == []


async def test_redis_that_is_away_is_an_error_of_ours(settings: Settings, storage_settings: S3Settings) -> None:
    nowhere = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    async with AsyncClient(nowhere, storage_settings) as client:
        for call in (client.status("a-job"), client.submit(PROMPT), client.wait("a-job")):
            with pytest.raises(RedisUnavailable):
                await call


async def _all(events: AsyncIterator[Event]) -> list[Event]:
    return [each async for each in events]


@asynccontextmanager
async def _closing(events: AsyncIterator[Event]) -> AsyncIterator[AsyncIterator[Event]]:
    try:
        yield events
    finally:
        await events.aclose()  # type: ignore[attr-defined]  # a generator


async def test_news_in_a_form_of_a_newer_version_keep_nobody_waiting(
    table: JobTable, client: Client, redis_client: redis.Redis, twin: AsyncClient
) -> None:
    job = client.submit(PROMPT)
    following = asyncio.create_task(_all(twin.events(job.id)))
    await until(lambda: subscriptions(redis_client, job.id) == 1)
    for news in ("a dream", "", '{"id": 1}', "1-0 dream [1]", "1-0 dream"):
        redis_client.publish(names.news_channel(job.id), news)
    table.cancel(job.id)
    assert (await following)[-1].type == "completed"
