"""nginx as it comes, with one `proxy_pass` and nothing else, which hides from the API who asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
import redis

from jobs.process.settings import Settings
from ops.process import LOOPBACK, free_port, wait_until
from ops.programs import Api
from ops.servers import RedisServer, S3Server
from ops.stack import addresses
from producer.keys.store import KeyStore
from tests.proxy.conftest import PATIENCE_S
from tests.proxy.servers import Nginx, needs_nginx, plain

pytestmark = needs_nginx

BODY = {"prompt": "a red circle"}


@pytest.fixture
def plain_front(
    settings: Settings, redis_server: RedisServer, s3_server: S3Server, tmp_path: Path
) -> Iterator[httpx.Client]:
    """Of an API process that nobody has made a key for."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEMILL_")}
    env = {**inherited, **addresses(redis_server, s3_server), "IMAGEMILL_REDIS_URL": settings.redis_url}
    port = free_port()
    with (
        Api(0, env) as api,
        Nginx(tmp_path / "nginx", port, plain(port, api.port or 0)),
        httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=PATIENCE_S, trust_env=False) as client,
    ):
        yield client


def test_nobody_comes_in_through_it_without_a_key(
    plain_front: httpx.Client, redis_client: redis.Redis, settings: Settings
) -> None:
    """And whoever has one reads all answers, those that refuse a body that nginx still sends among them."""
    for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/v1/queues"), ("DELETE", "/v1/jobs/x")):
        answer = plain_front.request(method, path, json=BODY if method == "POST" else None)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key"), path
        assert "a proxy forwarded this request" in answer.json()["error"]["message"]
    assert plain_front.get("/health").status_code == 200
    plain_front.headers["x-api-key"] = KeyStore(redis_client, settings).create("blog")[0]
    assert wait_until(lambda: plain_front.get("/v1/jobs").status_code == 200, PATIENCE_S)
    job = plain_front.post("/v1/jobs", json=BODY)
    assert job.status_code == 202
    large = plain_front.post("/v1/jobs", content=b" " * (900 << 10), headers={"Content-Type": "text/plain"})
    assert (large.status_code, large.json()["error"]["code"]) == (415, "unsupported_media_type")
