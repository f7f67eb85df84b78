"""The whole running system: Redis, S3 and a real worker process with the built-in model."""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import redis
from openai import OpenAI

from jobs import names
from jobs.process.settings import Settings
from ops.process import LOOPBACK, wait_until
from ops.programs import Api, Flower, Program
from ops.servers import RedisServer, S3Server
from ops.stack import addresses, metrics_env, worker_is_ready
from producer import Client
from storage.backends.s3.settings import S3Settings
from tests.system.browser import Browser, run_browser

CHECKOUT = Path(__file__).resolve().parent.parent.parent
QUEUE = "gpu.shapes-flow"
DEADLINE_S = 240.0  # for whatever a test waits for, on a machine that is kept busy: make test-loaded
_START_S = 600.0

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One of the running system's own: other tests count what their server is asked, fill it, and cut it off."""
    with RedisServer(tmp_path_factory.mktemp("redis-of-the-system")) as server:
        yield server


@pytest.fixture(scope="session")
def stack_env(
    redis_server: RedisServer, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment of every process of the running system."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEMILL_")}
    own = {"PYTHONPATH": str(CHECKOUT), "IMAGEMILL_WORKER_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}
    return {**inherited, **addresses(redis_server, s3_server), **own}


@pytest.fixture(scope="session")
def worker_log() -> list[str]:
    """What the session's worker has printed so far, line by line."""
    return []


@pytest.fixture(scope="session")
def worker(stack_env: dict[str, str], worker_log: list[str]) -> Iterator[Program]:
    """One worker process, ready, for the whole session."""
    settings = Settings(redis_url=stack_env["IMAGEMILL_REDIS_URL"])
    command = [sys.executable, "-m", "ops.cli", "worker"]
    process = Program("worker", command, stack_env | metrics_env(0), lambda: worker_is_ready(settings))
    process.start(worker_log.append)
    try:
        process.wait_until_ready(_START_S)
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="session")
def api_log() -> list[str]:
    """What the session's API has printed so far, line by line."""
    return []


@pytest.fixture(scope="session")
def api(worker: Program, stack_env: dict[str, str], api_log: list[str]) -> Iterator[Api]:
    """The HTTP API of the running system, as `./imagemill up` runs it, without a key."""
    process = Api(0, stack_env | metrics_env(0))
    process.start(api_log.append)
    try:
        process.wait_until_ready()
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="session")
def flower(worker: Program, stack_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    """Flower behind a password, as the local stack runs it. It knows of a job only what it has heard since."""
    env = stack_env | {"FLOWER_BASIC_AUTH": "operator:a password"}
    with Flower(tmp_path_factory.mktemp("flower") / "state", 0, env) as flower:
        # It answers before it listens to events: wait for a heartbeat.
        assert wait_until(lambda: any((ask_flower(flower, "/api/workers?status=1") or {}).values()), DEADLINE_S)
        yield flower


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium; the tests that want it are skipped where it is not installed."""
    with run_browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def system(worker: Program, stack_env: dict[str, str]) -> Client:
    """A client of the running system, worker included."""
    assert worker.exit_code is None, "the worker has died"
    return system_client(stack_env)


@pytest.fixture
def openai_client(api: Api) -> Iterator[OpenAI]:
    with (
        httpx.Client(trust_env=False) as transport,
        OpenAI(base_url=f"{api.url}/v1", api_key="none is needed", http_client=transport, timeout=DEADLINE_S) as client,
    ):
        yield client


@pytest.fixture
def cli(stack_env: dict[str, str], tmp_path: Path) -> RunCli:
    """Run `./imagemill ARGS…` in an empty folder against the session's servers; `env` adds to the environment."""

    def run(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(CHECKOUT / "imagemill"), *args]
        return subprocess.run(
            command,
            env=stack_env | (env or {}),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )

    return run


def system_client(stack_env: dict[str, str]) -> Client:
    return Client(
        Settings(redis_url=stack_env["IMAGEMILL_REDIS_URL"]),
        S3Settings(endpoint_url=stack_env["IMAGEMILL_S3_ENDPOINT_URL"], bucket=stack_env["IMAGEMILL_S3_BUCKET"]),
    )


def ask_flower(flower: Flower, path: str) -> Any:
    """What Flower's JSON interface answers to one who logs in; None if it refuses."""
    login = base64.b64encode((flower.login or "").encode()).decode()
    connection = http.client.HTTPConnection(LOOPBACK, flower.port or 0, timeout=DEADLINE_S)
    try:
        connection.request("GET", path, headers={"Authorization": f"Basic {login}"})
        response = connection.getresponse()
        body = response.read()
        return json.loads(body) if response.status == http.client.OK else None
    finally:
        connection.close()


@contextmanager
def nothing_begins(system: Client) -> Iterator[None]:
    """Jobs wait meanwhile: a machine that is busy may run one before a test has begun to look at it."""
    system.parts.control.pause(QUEUE)
    try:
        yield
    finally:
        system.parts.control.resume(QUEUE)


def is_watched(client: redis.Redis, job_id: str) -> bool:
    """Whether somebody has read a job, so that where it is goes into its events."""
    return bool(client.hexists(names.job_key(job_id), "watched"))


@pytest.fixture
def system_redis(stack_env: dict[str, str]) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(stack_env["IMAGEMILL_REDIS_URL"], decode_responses=True) as client:
        yield client
