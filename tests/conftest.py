"""Servers for the tests that want real ones: started on free ports, stopped by their process ids."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache

import pytest
import redis
import structlog
from celery import Celery
from celery.result import AsyncResult

from jobs.process.settings import Settings
from jobs.table.claim import Claim
from jobs.table.table import JobTable
from ops.servers import RedisServer, S3Server
from producer import Client
from producer.keys.store import KeyStore
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from tests.celery_sender import celery_sender
from tests.everywhere import catalogue, clean_environment, no_thread_left
from tests.processor_time import OPTION, ProcessorTimes
from tests.warm.popen import forked

__all__ = ["catalogue", "clean_environment", "no_thread_left"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, action="store_true", help="list the processor seconds of each file of tests")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(ProcessorTimes(lists_files=config.getoption(OPTION)))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """On which loop tests run that are coroutines, which their module marks with `anyio`: the one that we run on."""
    return "asyncio"


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """A shell has what it starts in the background ignore SIGINT, and so would each command that a test interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _warm() -> Iterator[None]:
    """What tests start of ours, they start by a fork: see `tests.warm`."""
    with forked() if "TESTS_COLD" not in os.environ else nullcontext():
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_trust_store() -> Iterator[None]:
    """
    A request by `httpx.get` makes a client, which reads the certificates of every authority there is: 44 ms of a
    processor, again each time that a test asks whether something is there by now.
    """
    from httpx2 import create_ssl_context

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx2._transports.default.create_ssl_context", cache(create_ssl_context))
        yield


@pytest.fixture(autouse=True, scope="session")
def _quiet_results() -> Iterator[None]:
    """
    A result of Celery's that is thrown away asks its Redis, which may be gone, for as long as it is patient. Where that
    comes while pytest reads a failed test's source, CPython 3.11 ends the whole run with a SystemError.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(AsyncResult, "__del__")
        yield


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """A test that runs a command in this process has its log configured, to a stream that is closed behind it."""
    root = logging.getLogger()
    handlers, level, was_configured = root.handlers[:], root.level, structlog.is_configured()
    yield
    for handler in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(handler)
    root.setLevel(level)
    if structlog.is_configured() and not was_configured:
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def settings(redis_server: RedisServer) -> Iterator[Settings]:
    """Settings on a database that is empty at the start of each test: 1, for nobody takes that by default."""
    url = redis_server.url.removesuffix("/0") + "/1"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    yield Settings(redis_url=url)


@pytest.fixture
def redis_client(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def table(settings: Settings, redis_client: redis.Redis) -> JobTable:
    return JobTable(redis_client, settings)


@pytest.fixture(scope="session")
def storage_settings(s3_server: S3Server) -> S3Settings:
    return S3Settings(endpoint_url=s3_server.endpoint, bucket="test-images")


@pytest.fixture(scope="session")
def store(storage_settings: S3Settings) -> S3Store:
    store = S3Store(storage_settings)
    store.prepare()
    return store


@pytest.fixture
def sender(settings: Settings) -> Iterator[Celery]:
    """Somebody who has Celery and nothing of ours."""
    with celery_sender(settings.redis_url) as app:
        yield app


@pytest.fixture
def client(settings: Settings, storage_settings: S3Settings) -> Client:
    """A producer whose jobs nobody runs."""
    return Client(settings, storage_settings)


@pytest.fixture
def keys(redis_client: redis.Redis, settings: Settings) -> KeyStore:
    return KeyStore(redis_client, settings)


@pytest.fixture
def claimed(client: Client, table: JobTable) -> Claim:
    """A job that a worker has."""
    claim, _ = table.claim(client.submit("a red circle").id, owner="a worker")
    assert claim is not None
    return claim
