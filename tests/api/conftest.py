"""The API as a process of its own, on a real Redis and a real S3 store; a thread of the tests ends its jobs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis

from jobs.process.settings import Settings
from ops.programs import Api
from ops.servers import RedisServer, S3Server
from ops.settings import CHECKOUT
from ops.stack import addresses
from storage.backends.s3.store import S3Store
from tests.api.finisher import finishing


@pytest.fixture
def env(redis_server: RedisServer, s3_server: S3Server, settings: Settings) -> dict[str, str]:
    """Of an API process on the database of this test."""
    own = {
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONUNBUFFERED": "1",
        "IMAGEMILL_REDIS_URL": settings.redis_url,
        "IMAGEMILL_S3_BUCKET": "test-images",
        "IMAGEMILL_API_MAX_WAIT_S": "1",
    }
    return {**os.environ, **addresses(redis_server, s3_server), **own}


@pytest.fixture
def log() -> list[str]:
    """What `process` has printed so far."""
    return []


@pytest.fixture
def process(
    env: dict[str, str], log: list[str], settings: Settings, redis_client: redis.Redis, store: S3Store
) -> Iterator[Api]:
    """`./imagemill api`, with somebody who ends its jobs."""
    api = Api(0, env)
    api.start(log.append)
    try:
        api.wait_until_ready()
        with finishing(redis_client, settings, store):
            yield api
    finally:
        api.stop()
