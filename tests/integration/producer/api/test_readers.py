"""Clients that do not read what they asked for are let go, whatever it was."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable, Iterator

import httpx2 as httpx
import pytest
from fastapi import FastAPI

from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.process import wait_until
from producer import Client
from producer.api.server import Server
from producer.api.settings import ApiSettings
from producer.api.wire import readers
from storage.backends.s3.store import S3Store
from tests.claims import claim_job
from tests.integration.producer.api.conftest import DEADLINE_S, serving
from tests.integration.producer.api.test_jobs import IMAGE

LARGE = 16 << 20
EVENTS, EVENT_CHARS = 60, 4_000  # Of one attempt it may be 256 KiB.
LINES = 4_000
KEY = "readers/0.png"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "LOOK_S", 0.3)


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings(image_links="api")


@pytest.fixture
def server(make_app: Callable[[], FastAPI]) -> Iterator[tuple[Server, str]]:
    with serving(make_app()) as serving_:
        yield serving_


def image(url: str, client: Client, table: JobTable, store: S3Store) -> str:
    store.put(KEY, b"a" * LARGE, "image/png")
    claim = claim_job(table, client.submit("a red circle").id)
    table.finish(claim, Status.SUCCEEDED, artifacts=[IMAGE | {"key": KEY}])
    return f"/v1/jobs/{claim.job_id}/images/0"


def results(url: str, client: Client, table: JobTable, store: S3Store) -> str:
    lines = "\n".join([json.dumps({"prompt": "a red circle"})] * LINES)
    headers = {"Content-Type": "application/jsonl"}
    batch = httpx.post(f"{url}/v1/jobs/batch", content=lines, headers=headers, timeout=DEADLINE_S, trust_env=False)
    return f"{httpx.URL(batch.headers['location']).path}/results"


def events(url: str, client: Client, table: JobTable, store: S3Store) -> str:
    claim = claim_job(table, client.submit("a red circle").id)
    for _ in range(EVENTS):
        table.send(claim, {"text": "a" * EVENT_CHARS})
    return f"/v1/jobs/{claim.job_id}/events"


@pytest.mark.parametrize("answer", [image, results, events])
def test_client_that_does_not_read_is_let_go(
    server: tuple[Server, str],
    client: Client,
    table: JobTable,
    store: S3Store,
    answer: Callable[[str, Client, JobTable, S3Store], str],
) -> None:
    state, url = server[0].server_state, server[1]
    path = answer(url, client, table, store)
    assert wait_until(lambda: not state.connections, DEADLINE_S)
    with socket.socket() as unread:
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        unread.connect((httpx.URL(url).host, httpx.URL(url).port))
        unread.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert unread.recv(15) == b"HTTP/1.1 200 OK"
        assert wait_until(lambda: not state.connections, DEADLINE_S)
        assert wait_until(lambda: not state.tasks, DEADLINE_S)
        waiting = select.poll()
        waiting.register(unread, 0)
        assert waiting.poll(DEADLINE_S * 1_000)  # Reset, so that the kernel keeps nothing either.
