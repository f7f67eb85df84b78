"""Servers for the tests that want real ones: started on free ports, stopped by their process ids."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import hypothesis
import pytest
import redis
import structlog
from celery import Celery
from celery.result import AsyncResult

from jobs.catalogue.catalogue import Catalogue
from jobs.process.settings import Settings
from jobs.table.table import JobTable
from ops.servers import RedisServer, S3Server
from producer import Client
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from tests.celery_sender import celery_sender
from tests.processor_time import OPTION, ProcessorTimes
from tests.warm.popen import forked

# How long an example takes to make, or to try, is the machine's to say, and asserted nowhere.
hypothesis.settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("shared machine")

_THREAD_ENDS_S = 20.0
_POLL_INTERVAL_S = 0.01

# How many examples a property is tried with: few in the loop of a change, many in `make test-properties`.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=25)
hypothesis.settings.register_profile("long", deadline=None, max_examples=200)
hypothesis.settings.load_profile("quick")


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
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own settings are no part of a test."""
    for name in [name for name in os.environ if name.startswith("IMAGEMILL_")]:
        monkeypatch.delenv(name)


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


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    """What a test starts in this process ends with it: a later one may count threads, or meet it at work."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + _THREAD_ENDS_S
    for thread in set(threading.enumerate()) - before:
        if thread.name == "tqdm_monitor":  # Of the library, one for the process.
            continue
        while thread.ident is None and time.monotonic() < deadline:  # It is about to start.
            time.sleep(_POLL_INTERVAL_S)
        thread.join(max(0.0, deadline - time.monotonic()))
        assert not thread.is_alive(), f"the test left a thread running: {thread.name}"


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
def catalogue() -> Catalogue:
    return Catalogue.read(Path(__file__).parent.parent / "models.toml")


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
