"""What is open of a key ends soon after it is revoked, and says why; as it does when the first key closes the API."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.process import wait_until
from producer.api.settings import ApiSettings
from producer.keys.store import KeyStore
from tests.integration.producer.api.conftest import DEADLINE_S
from tests.integration.producer.api.sse import listening
from tests.integration.producer.api.test_batches import JSONL, jsonl, lines

PROMPT = "a large red circle on a blue background"
BODY = {"prompt": PROMPT}


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings(max_wait_s=600, body_timeout_s=600)


@pytest.fixture
def blog(keys: KeyStore) -> dict[str, str]:
    return {"Authorization": f"Bearer {keys.create('blog')[0]}"}


@pytest.fixture
def client(replica: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=replica, trust_env=False, timeout=DEADLINE_S) as client:
        yield client


class Asking(threading.Thread):
    """A request that takes its time."""

    def __init__(self, client: httpx.Client, path: str, headers: dict[str, str], **sent: Any) -> None:
        super().__init__(daemon=True)
        self._ask: Callable[[], httpx.Response] = lambda: client.post(path, headers=headers, **sent)
        self.start()

    def run(self) -> None:
        self.got = self._ask()

    def answer(self) -> httpx.Response:
        self.join(DEADLINE_S)
        return self.got


def job_of(table: JobTable, caller: str) -> str:
    """The one that it has, when it has it."""
    assert wait_until(lambda: bool(table.list_jobs(caller)[0]), DEADLINE_S)
    return table.list_jobs(caller)[0][0].id


@pytest.mark.parametrize("way", ["revoke", "rotate"])
def test_event_stream_ends_and_tells_why(
    client: httpx.Client, table: JobTable, keys: KeyStore, blog: dict[str, str], way: str
) -> None:
    job = client.post("/v1/jobs", json=BODY, headers=blog).json()
    other = {"x-api-key": keys.create("other")[0]}
    others = client.post("/v1/jobs", json=BODY, headers=other).json()
    with listening(job["events_url"], headers=blog) as told, listening(others["events_url"], headers=other) as heard:
        {"revoke": keys.revoke, "rotate": keys.rotate}[way]("blog")
        (last,) = told
        assert (last.event, last.data["error"]["code"]) == ("refused", "invalid_api_key")
        table.cancel(others["id"])
        assert [each.event for each in heard] == ["completed"]
    assert table.get(job["id"]).status is Status.QUEUED


def test_wait_ends_and_its_job_goes_on(
    client: httpx.Client, table: JobTable, keys: KeyStore, blog: dict[str, str]
) -> None:
    waiting = Asking(client, "/v1/jobs", {**blog, "Prefer": "wait=500"}, json=BODY)
    job_id = job_of(table, "blog")
    keys.revoke("blog")
    answer = waiting.answer()
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert "www-authenticate" in answer.headers
    assert table.get(job_id).status is Status.QUEUED


def test_openai_client_that_waits_is_told_in_its_form(
    client: httpx.Client, table: JobTable, keys: KeyStore, blog: dict[str, str]
) -> None:
    waiting = Asking(client, "/v1/images/generations", blog, json=BODY)
    job_of(table, "blog")
    keys.revoke("blog")
    answer = waiting.answer()
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")


def test_openai_stream_ends_with_an_error(
    client: httpx.Client, table: JobTable, keys: KeyStore, blog: dict[str, str]
) -> None:
    waiting = Asking(client, "/v1/images/generations", blog, json={**BODY, "stream": True})
    job_of(table, "blog")
    keys.revoke("blog")
    answer = waiting.answer()
    assert answer.status_code == 200
    kind, data = answer.text.strip().split("\n")[-2:]
    assert kind == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["code"] == "invalid_api_key"


def test_batch_that_is_on_its_way_ends_behind_what_it_has_queued(
    client: httpx.Client, table: JobTable, keys: KeyStore, blog: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had sent and not queued is not queued."""
    monkeypatch.setattr("producer.api.batches.intake._BULK_JOBS", 2)
    host = urlsplit(str(client.base_url)).netloc
    with closing(HTTPConnection(host, timeout=DEADLINE_S)) as sender:
        sender.putrequest("POST", "/v1/jobs/batch")
        for name, value in {**blog, **JSONL, "Transfer-Encoding": "chunked"}.items():
            sender.putheader(name, value)
        part = jsonl(*[BODY] * 5).encode()
        sender.endheaders(b"%x\r\n%s\r\n" % (len(part), part))
        assert wait_until(lambda: len(table.list_jobs("blog")[0]) == 4, DEADLINE_S)
        keys.revoke("blog")
        told = lines(sender.getresponse().read().decode())
    assert [(each["error"] or {}).get("code") for each in told] == [*[None] * 4, "invalid_api_key"]
    assert len(table.list_jobs("blog")[0]) == 4


def test_models_that_a_key_loses_are_lost_to_a_batch_on_its_way(
    client: httpx.Client, table: JobTable, keys: KeyStore, blog: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.api.batches.intake._BULK_JOBS", 1)

    def body() -> Iterator[bytes]:
        yield jsonl(BODY).encode()
        assert wait_until(lambda: len(table.list_jobs("blog")[0]) == 1, DEADLINE_S)
        keys.update("blog", models=["dreams"])
        assert wait_until(lambda: client.get("/v1/models", headers=blog).json()["data"] == [], DEADLINE_S)
        yield jsonl(BODY).encode()

    told = lines(client.post("/v1/jobs/batch", headers={**blog, **JSONL}, content=body()).text)
    assert [(each["error"] or {}).get("code") for each in told] == [None, "model_not_allowed"]


def test_first_key_ends_what_is_open_without_one(client: httpx.Client, table: JobTable, keys: KeyStore) -> None:
    job = client.post("/v1/jobs", json=BODY).json()
    with listening(job["events_url"]) as told:
        keys.create("blog")
        (last,) = told
    assert (last.event, last.data["error"]["code"]) == ("refused", "invalid_api_key")
