"""The API in this process, on a real Redis and a real S3 store; the table's own calls stand for a worker."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Thread

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from jobs.settings import Settings
from ops.process import http_answers, wait_until
from producer.api.app import create_app
from producer.api.server import Server
from producer.api.settings import ApiSettings
from storage.s3 import ImageStore
from storage.settings import StorageSettings

DEADLINE_S = 10.0

Serve = Callable[[], AbstractContextManager[str]]
Replica = tuple[Server, str]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """As for all, but what is claimed here stays claimed: the API reconciles."""
    return settings.model_copy(update={"lease_s": 300.0})


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings(max_wait_s=5, body_timeout_s=0.5)


@pytest.fixture
def make_app(
    settings: Settings, storage_settings: StorageSettings, store: ImageStore, api_settings: ApiSettings
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
            assert wait_until(lambda: http_answers(port, "/health"), DEADLINE_S)
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
