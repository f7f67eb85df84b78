"""The API in this process, on a real Redis and a real S3 store; the table's own calls stand for a worker."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import pytest
import redis
from fastapi import FastAPI
from fastapi.testclient import TestClient

from jobs import names
from jobs.inputs.files import Files
from jobs.process.settings import Settings
from ops.process import http_status, wait_until
from ops.programs import Api
from ops.servers import RedisServer, S3Server
from ops.stack import addresses
from producer.api.app import create_app
from producer.api.server import Server
from producer.api.settings import ApiSettings
from producer.files.sweep import FileSweep
from producer.keys.store import KeyStore
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from storage.inputs import Inputs

CHECKOUT = Path(__file__).resolve().parents[4]
DEADLINE_S = 60.0

Replica = tuple[Server, str]
MakeKey = Callable[..., dict[str, str]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """As for all, but what is claimed here stays claimed: the API reconciles."""
    return settings.model_copy(update={"lease_s": 300.0})


@pytest.fixture
def api_settings() -> ApiSettings:
    """A client that a busy machine holds up between head and body is no slow one."""
    return ApiSettings(max_wait_s=5, body_timeout_s=DEADLINE_S)


@pytest.fixture
def make_app(
    settings: Settings, storage_settings: S3Settings, store: S3Store, api_settings: ApiSettings
) -> Callable[[], FastAPI]:
    return lambda: create_app(settings, storage_settings, api_settings)


@pytest.fixture
def api(make_app: Callable[[], FastAPI]) -> Iterator[TestClient]:
    """A client of the running application, without a network in between."""
    with TestClient(make_app(), base_url="http://127.0.0.1") as client:
        yield client


@contextmanager
def serving(app: FastAPI) -> Iterator[Replica]:
    """The application on a free port, by the server that `./imagemill api` runs; gives it and its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = Server(app)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert wait_until(lambda: http_status(port, "/health") == 200, DEADLINE_S)
            yield server, f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


@pytest.fixture
def replica(make_app: Callable[[], FastAPI]) -> Iterator[str]:
    """The address of one API on a free port."""
    with serving(make_app()) as (_, url):
        yield url


@pytest.fixture
def replicas(make_app: Callable[[], FastAPI]) -> Iterator[list[Replica]]:
    """Two side by side."""
    with ExitStack() as stack:
        yield [stack.enter_context(serving(make_app())) for _ in range(2)]


@pytest.fixture
def env(redis_server: RedisServer, s3_server: S3Server, settings: Settings) -> dict[str, str]:
    """Of a process on the database of this test."""
    own = {"PYTHONPATH": str(CHECKOUT), "IMAGEMILL_REDIS_URL": settings.redis_url}
    return {**os.environ, **addresses(redis_server, s3_server), **own}


@pytest.fixture
def log() -> list[str]:
    """What `process` has printed so far."""
    return []


@pytest.fixture
def process(env: dict[str, str], log: list[str], store: S3Store) -> Iterator[Api]:
    """`./imagemill api`, as the local stack runs it."""
    api = Api(0, env)
    api.start(log.append)
    try:
        api.wait_until_ready()
        yield api
    finally:
        api.stop()


@pytest.fixture
def processes(env: dict[str, str], store: S3Store) -> Iterator[list[Api]]:
    """Two of them, side by side."""
    with ExitStack() as stack:
        yield [stack.enter_context(Api(0, env)) for _ in range(2)]


@pytest.fixture
def files(redis_client: redis.Redis, settings: Settings) -> Files:
    return Files(redis_client, settings)


@pytest.fixture
def inputs(store: S3Store) -> Inputs:
    return Inputs(store)


@pytest.fixture
def sweep(redis_client: redis.Redis, store: S3Store, settings: Settings) -> FileSweep:
    return FileSweep(redis_client, store, settings)


@pytest.fixture
def make_key(redis_client: redis.Redis, settings: Settings) -> MakeKey:
    """Headers with a new key of these limits."""
    keys = KeyStore(redis_client, settings)
    return lambda name, **limits: {"Authorization": f"Bearer {keys.create(name, **limits)[0]}"}


@pytest.fixture
def nothing_stays(store: S3Store, redis_client: redis.Redis) -> Iterator[Callable[[], bool]]:
    """Whether the store has no object, and no part of one, that was not there before, and Redis no file."""
    before = {each.key for each in store.objects("inputs/")}

    def is_clean() -> bool:
        keys = [str(each) for each in redis_client.keys("imagemill:file*")]
        return (
            {each.key for each in store.objects("inputs/")} == before
            and [each for each in keys if each != names.FILE_SWEEP] == []
            and store.drop_uploads("inputs/") == 0
        )

    yield is_clean
    store.delete_many([each.key for each in store.objects("inputs/") if each.key not in before])
