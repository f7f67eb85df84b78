"""Redis behind Sentinels: every client finds the one that they name, and the next one when that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from jobs.errors import RedisUnavailable
from jobs.names import line_of, queue_of
from jobs.process.settings import Settings
from jobs.redis.connection import connect, connect_async, map_errors
from jobs.table.table import JobTable
from ops.process import free_port
from producer import Client
from storage.backends.s3.settings import S3Settings
from tests.redis.servers import MASTER, Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def settings(cluster: Cluster) -> Settings:
    return Settings(redis_url=cluster.url, redis_sentinel_master=MASTER)


def test_job_and_its_message_are_written_where_the_sentinels_say(
    cluster: Cluster, settings: Settings, storage_settings: S3Settings
) -> None:
    client = Client(settings, storage_settings)
    job = client.submit("a red circle", model="shapes-flow")
    client.close()
    with cluster.client(cluster.primary_port()) as primary:
        assert primary.exists(f"imagemill:job:{job.id}")
        assert any(
            job.id in message
            for key in primary.scan_iter(f"{line_of(queue_of('shapes-flow'))}*")
            for message in primary.lrange(key, 0, -1)
        )


def test_sentinels_that_are_away_are_passed_over(cluster: Cluster) -> None:
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{cluster.sentinels[2].port}"
    with connect(Settings(redis_url=f"sentinel://{hosts}", redis_sentinel_master=MASTER)) as client:
        assert client.ping()


@pytest.mark.anyio
async def test_name_that_the_sentinels_do_not_know_is_told_of(cluster: Cluster) -> None:
    settings = Settings(redis_url=cluster.url, redis_sentinel_master="nobody")
    with pytest.raises(RedisUnavailable, match="no running master 'nobody': set IMAGEMILL_REDIS_SENTINEL_MASTER"):
        JobTable(connect(settings), settings).get("a-job")
    with pytest.raises(RedisUnavailable, match="set IMAGEMILL_REDIS_SENTINEL_MASTER"):
        async with connect_async(settings, connections=1) as client:
            with map_errors(settings):
                await client.ping()


def test_sentinels_that_do_not_answer_are_told_of() -> None:
    settings = Settings(redis_url=f"sentinel://127.0.0.1:{free_port()}")
    with pytest.raises(RedisUnavailable, match=r"no Sentinel answers.*IMAGEMILL_REDIS_URL"), map_errors(settings):
        connect(settings).ping()


@pytest.mark.anyio
async def test_more_coroutines_than_connections_wait_for_one_another(settings: Settings) -> None:
    async with connect_async(settings, connections=2) as client:
        await client.delete("counted")
        assert max(await asyncio.gather(*(client.incr("counted") for _ in range(50)))) == 50
