"""Two API replicas on one Redis, with nginx in front of them; a thread ends jobs where a test asks for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest
import redis

from jobs.process.settings import Settings
from jobs.table.table import JobTable
from ops.process import LOOPBACK, free_port
from ops.programs import Api
from ops.servers import RedisServer, S3Server
from ops.stack import addresses
from producer import Client
from producer.keys.store import KeyStore
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from tests.api.finisher import finishing
from tests.proxy.servers import PREFIX, Nginx, as_documented, trusting
from tests.redis.servers import Certificates
from tests.system.browser import Browser, run_browser

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """
    What clients reach.

    Attributes:
        public: What every URL begins with.
        client: Asks below it, with a key, and trusts its certificate.
        replicas: What stands behind it.
    """

    public: str
    client: httpx.Client
    replicas: list[Api]


@pytest.fixture(scope="module")
def behind(redis_server: RedisServer) -> Settings:
    """Of the replicas; nothing that is claimed is claimed again meanwhile."""
    return Settings(redis_url=redis_server.url, lease_s=300.0)


@pytest.fixture(scope="module")
def front(
    behind: Settings,
    redis_server: RedisServer,
    s3_server: S3Server,
    store: S3Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Front]:
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    certificates = Certificates.make(folder / "certificates")
    public = f"https://{LOOPBACK}:{port}{PREFIX}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEMILL_")}
    env = {
        **inherited,
        **addresses(redis_server, s3_server),
        "IMAGEMILL_S3_BUCKET": "test-images",
        "IMAGEMILL_LEASE_S": "300",
        "IMAGEMILL_API_PUBLIC_URL": public,
        "IMAGEMILL_API_IMAGE_LINKS": "api",
    }
    with redis.Redis.from_url(behind.redis_url, decode_responses=True) as client, ExitStack() as stack:
        key, _ = KeyStore(client, behind).create("blog")
        replicas = [stack.enter_context(Api(0, env)) for _ in range(2)]
        servers = as_documented(port, [each.port or 0 for each in replicas], certificates.server)
        stack.enter_context(Nginx(folder, port, servers))
        asks = stack.enter_context(
            httpx.Client(
                base_url=public,
                headers={"Authorization": f"Bearer {key}"},
                verify=trusting(certificates.ca),
                timeout=PATIENCE_S,
                trust_env=False,
            )
        )
        yield Front(public=public, client=asks, replicas=replicas)


@pytest.fixture
def behind_redis(behind: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(behind.redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def behind_table(behind: Settings, behind_redis: redis.Redis) -> JobTable:
    return JobTable(behind_redis, behind)


@pytest.fixture
def behind_client(behind: Settings, storage_settings: S3Settings) -> Client:
    """A producer beside the proxy."""
    return Client(behind, storage_settings)


@pytest.fixture
def finished(behind: Settings, behind_redis: redis.Redis, store: S3Store) -> Iterator[None]:
    """Jobs end by themselves."""
    with finishing(behind_redis, behind, store):
        yield


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """It takes any certificate."""
    with run_browser(tmp_path / "chromium", "--ignore-certificate-errors") as browser:
        yield browser
