"""One key reads, follows, lists and cancels nothing of another's, on any route: each has its case here."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2 as httpx
import pytest
import redis
from fastapi.testclient import TestClient

from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.process import wait_until
from producer.keys.store import KeyStore
from tests.claims import claim_job
from tests.integration.producer.api.conftest import DEADLINE_S
from tests.integration.producer.api.pictures import png
from tests.integration.producer.api.routes import OPEN, documented, filled
from tests.integration.producer.api.test_jobs import IMAGE

MARK = "unspeakable"
PROMPT = f"a {MARK} red circle"
BODY = {"prompt": PROMPT, "metadata": {"of": MARK}}
CHANGE = {"position": "front"}
SAME_KEY = {"Idempotency-Key": "order-12"}
OTHER = {"key": "a/1.bin", "content_type": "application/x-tensor", "bytes": 4, "sha256": "00", "name": MARK}
PURPOSE = {"purpose": "vision"}
PICTURE = {"file": (f"{MARK}.png", png())}
JSONL = {"Content-Type": "application/jsonl"}


@dataclass
class Two:
    """
    Two keys: the owner of everything, and another, which asks.

    Attributes:
        told: What the other was answered.
    """

    api: TestClient
    table: JobTable
    owner: dict[str, str]
    other: dict[str, str]
    waiting: str
    done: str
    batch: str
    file: str
    told: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **kwargs: Any) -> httpx.Response:
        """As the other."""
        answer = self.api.request(method, path, headers={**self.other, **(headers or {})}, **kwargs)
        self.told.append(f"{answer.headers} {answer.text}")
        return answer

    def is_not_there(self, method: str, path: str, **names: str) -> None:
        """Answered as if there was nothing: as for a name that nobody ever had."""
        answer = self.api.request(method, filled(path, **names), headers=self.other)
        missing = self.api.request(method, filled(path, **dict.fromkeys(names, "none")), headers=self.other)
        told = answer.text
        for name in names.values():
            told = told.replace(name, "none")
        assert (answer.status_code, told) == (404, missing.text)
        self.told.append(told)


@pytest.fixture
def two(api: TestClient, table: JobTable, redis_client: redis.Redis, settings: Settings) -> Two:
    keys = KeyStore(redis_client, settings)
    owner, other = ({"Authorization": f"Bearer {keys.create(name)[0]}"} for name in ("owner", "other"))
    waiting = api.post("/v1/jobs", json=BODY, headers={**owner, **SAME_KEY}).json()["id"]
    done = api.post("/v1/jobs", json=BODY, headers=owner).json()["id"]
    claim = claim_job(table, done)
    table.finish(claim, Status.SUCCEEDED, artifacts=[IMAGE, OTHER])
    sent = {**owner, **SAME_KEY, **JSONL}
    batch = api.post("/v1/jobs/batch", content=json.dumps({**BODY, "custom_id": MARK}), headers=sent)
    batch_id = batch.headers["location"].rsplit("/", 1)[1]
    file = api.post("/v1/files", data=PURPOSE, files=PICTURE, headers=owner).json()["id"]
    return Two(api=api, table=table, owner=owner, other=other, waiting=waiting, done=done, batch=batch_id, file=file)


def submit(two: Two) -> None:
    """The same idempotency key is another one, and no job is submitted in the owner's name."""
    answer = two.ask("POST", "/v1/jobs", SAME_KEY, json={"prompt": "mine"})
    assert (answer.status_code, answer.json()["caller"]) == (202, "other")
    signed = two.ask("POST", "/v1/jobs", json={"prompt": "mine", "caller": "owner"})
    assert (signed.status_code, signed.json()["error"]["field"]) == (422, "caller")
    dry = two.ask("POST", "/v1/jobs?dry_run=true", SAME_KEY, json={"prompt": "mine"})
    assert dry.status_code == 200


def list_jobs(two: Two) -> None:
    page = two.api.get("/v1/jobs", params={"limit": 1}, headers=two.owner).json()
    assert (len(page["data"]), page["next_cursor"] is None) == (1, False)
    for query in ({}, {"status": "queued"}, {"model": "shapes-flow"}, {"cursor": page["next_cursor"]}):
        assert two.ask("GET", "/v1/jobs", params=query).json() == {"object": "list", "data": [], "next_cursor": None}
    assert two.ask("GET", "/v1/jobs", params={"caller": "owner"}).json()["error"]["field"] == "caller"


def drop(two: Two) -> None:
    statuses = {"status": ["succeeded", "failed", "canceled", "expired"]}
    answer = two.ask("DELETE", "/v1/jobs", params=statuses)
    assert answer.json() == {"object": "dropped", "dropped": 0, "next_cursor": None}


def submit_batch(two: Two) -> None:
    answer = two.ask("POST", "/v1/jobs/batch", {**SAME_KEY, **JSONL}, content='{"prompt": "mine"}')
    assert answer.status_code == 200
    assert two.batch not in answer.headers["location"]
    signed = two.ask("POST", "/v1/jobs/batch", JSONL, content='{"prompt": "mine", "caller": "owner"}')
    assert signed.json()["error"]["field"] == "caller"


def generate(two: Two) -> None:
    """With the owner's idempotency key OpenAI's route waits for a job of its own."""

    def ask() -> httpx.Response:
        return two.ask("POST", "/v1/images/generations", SAME_KEY, json={"prompt": "mine"})

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask)
        assert wait_until(lambda: bool(two.table.list_jobs("other")[0]), DEADLINE_S)
        (own,), _ = two.table.list_jobs("other")
        two.table.cancel(own.id)
        assert (answer.result().status_code, answer.result().headers["x-request-id"]) == (409, own.id)


def edit(two: Two) -> None:
    """The owner's file is not there, by its id or by its bytes; nor is the owner's key of a job."""
    path, body = "/v1/images/edits", {"prompt": "mine", "n": 64}  # More than a model makes, so that it is not queued.
    for file_id in (two.file, "file-" + "a" * 24):
        answer = two.api.post(path, json={**body, "images": [{"file_id": file_id}]}, headers=two.other)
        assert answer.status_code == 400
        two.told.append(answer.text.replace(file_id, "none"))
    assert two.told[0] == two.told[1]
    own = two.ask("POST", path, SAME_KEY, data=body, files={"image": PICTURE["file"]})
    assert own.json()["error"]["param"] == "n"
    assert two.api.get("/v1/files", headers=two.owner).json()["data"][0]["id"] == two.file


def models(two: Two) -> None:
    assert {each["id"] for each in two.ask("GET", "/v1/models").json()["data"]} == {"shapes", "shapes-flow"}


def one_model(two: Two) -> None:
    assert two.ask("GET", "/v1/models/shapes").json()["id"] == "shapes"


def queues(two: Two) -> None:
    """How much waits there, of all, and of nobody by name."""
    (queue,) = two.ask("GET", "/v1/queues").json()["data"]
    assert queue == {
        "queue": "gpu.shapes-flow",
        "model": "shapes-flow",
        "waiting": 2,
        "running": 0,
        "later": 0,
        "paused": False,
    }


def limits(two: Two) -> None:
    """Its own, whatever the owner may."""
    assert two.ask("GET", "/v1/limits").json()["caller"] == "other"


def upload(two: Two) -> None:
    """The same bytes, of the same purpose, are another file."""
    answer = two.ask("POST", "/v1/files", data=PURPOSE, files={"file": ("mine.png", PICTURE["file"][1])})
    assert answer.json()["filename"] == "mine.png"
    assert two.api.get("/v1/files", headers=two.owner).json()["data"][0]["id"] == two.file


def list_files(two: Two) -> None:
    for query in ({}, {"purpose": "vision"}, {"order": "asc"}):
        assert two.ask("GET", "/v1/files", params=query).json()["data"] == []
    two.is_not_there("GET", "/v1/files?after={file_id}", file_id=two.file)


def of_job(two: Two, method: str, path: str) -> None:
    for job_id in (two.waiting, two.done):
        two.is_not_there(method, path, job_id=job_id)


def of_batch(two: Two, method: str, path: str) -> None:
    two.is_not_there(method, path, batch_id=two.batch)


def of_file(two: Two, method: str, path: str) -> None:
    two.is_not_there(method, path, file_id=two.file)


CASES: dict[str, Callable[[Two], None]] = {
    "POST /v1/jobs": submit,
    "GET /v1/jobs": list_jobs,
    "DELETE /v1/jobs": drop,
    "POST /v1/jobs/batch": submit_batch,
    "POST /v1/images/generations": generate,
    "POST /v1/images/edits": edit,
    "GET /v1/models": models,
    "GET /v1/models/{model}": one_model,
    "GET /v1/queues": queues,
    "GET /v1/limits": limits,
    "POST /v1/files": upload,
    "GET /v1/files": list_files,
}
# Each of these names one job, one batch, or one file.
OF_JOB = {
    "GET /v1/jobs/{job_id}",
    "DELETE /v1/jobs/{job_id}",
    "PATCH /v1/jobs/{job_id}",
    "DELETE /v1/jobs/{job_id}/result",
    "GET /v1/jobs/{job_id}/events",
    "GET /v1/jobs/{job_id}/images/{index}",
    "GET /v1/jobs/{job_id}/images/{index}/thumbnail",
    "GET /v1/jobs/{job_id}/artifacts/{index}",
}
OF_BATCH = {
    "GET /v1/jobs/batches/{batch_id}",
    "DELETE /v1/jobs/batches/{batch_id}",
    "GET /v1/jobs/batches/{batch_id}/results",
}

OF_FILE = {"GET /v1/files/{file_id}", "DELETE /v1/files/{file_id}", "GET /v1/files/{file_id}/content"}
BY_NAME = {**dict.fromkeys(OF_JOB, of_job), **dict.fromkeys(OF_BATCH, of_batch), **dict.fromkeys(OF_FILE, of_file)}


def test_every_route_has_a_case(api: TestClient) -> None:
    assert documented(api) - OPEN == {*CASES, *BY_NAME}


@pytest.mark.parametrize("route", [*CASES, *sorted(BY_NAME)])
def test_another_key_has_nothing_of_the_owners(two: Two, route: str) -> None:
    method, path = route.split()
    if route in CASES:
        CASES[route](two)
    else:
        BY_NAME[route](two, method, path)
    secrets = (MARK, "owner", two.waiting, two.done, two.batch, two.file, *two.owner.values())
    assert two.told
    assert [(secret, told) for told in two.told for secret in secrets if secret in told] == []
    assert [two.table.get(job_id).status for job_id in (two.waiting, two.done)] == [Status.QUEUED, Status.SUCCEEDED]
    assert two.api.get(f"/v1/files/{two.file}/content", headers=two.owner).content == PICTURE["file"][1]
    mine = two.api.get(f"/v1/jobs/batches/{two.batch}", headers=two.owner).json()
    assert (mine["status"], mine["counts"]["queued"]) == ("in_progress", 1)


def test_owner_is_let_in_everywhere(two: Two) -> None:
    """Or the cases above would say nothing."""
    for route in sorted(BY_NAME, key=lambda each: (each.startswith("DELETE"), each)):
        method, path = route.split()
        url, body = (
            filled(path, job_id=two.done, batch_id=two.batch, file_id=two.file),
            CHANGE if method == "PATCH" else None,
        )
        answer = two.api.request(method, url, headers=two.owner, json=body, follow_redirects=False)
        was_let_in = {"image_not_found", "job_not_queued"}
        assert answer.is_success or answer.json()["error"]["code"] in was_let_in, route


@pytest.mark.parametrize("kind", ["none", "wrong", "revoked"])
def test_without_a_valid_key_every_route_is_closed_but_health(
    two: Two, redis_client: redis.Redis, settings: Settings, kind: str
) -> None:
    keys = KeyStore(redis_client, settings)
    token = keys.create("gone")[0]
    keys.revoke("gone")
    headers = {"none": {}, "wrong": {"Authorization": "Bearer im_wrong"}, "revoked": {"x-api-key": token}}[kind]
    for route in documented(two.api):
        method, path = route.split()
        url = filled(path, job_id=two.waiting, batch_id=two.batch, file_id=two.file)
        answer = two.api.request(method, url, headers=headers, json=BODY if method == "POST" else None)
        if route in OPEN:
            assert answer.status_code == 200
            continue
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key"), route
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert [two.api.get(path).status_code for path in ("/docs", "/openapi.json")] == [200, 200]
    assert two.table.get(two.waiting).status is Status.QUEUED
