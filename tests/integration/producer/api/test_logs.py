"""Prompts and keys stand in no line that the API writes at its default level, whatever it answers, on any route."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
import redis
from fastapi import FastAPI
from fastapi.testclient import TestClient

from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.process import wait_until
from ops.programs import Api
from producer.api.views import Views
from producer.keys.store import KeyStore
from tests.claims import claim_job
from tests.integration.producer.api.conftest import DEADLINE_S
from tests.integration.producer.api.routes import documented, filled
from tests.integration.producer.api.test_jobs import IMAGE

MARK = "unspeakable"
WRONG_KEY = "im_unspeakable-wrong-key"
GOOD: dict[str, Any] = {
    "prompt": f"a {MARK} red circle",
    "negative_prompt": MARK,
    "guidance_scale": 2,
    "metadata": {MARK: MARK},
}
JSON = "application/json"

# What a body may be, and what it says of itself.
BODIES: dict[str, tuple[bytes, str]] = {
    "right": (json.dumps(GOOD).encode(), JSON),
    "another of the same key": (json.dumps({**GOOD, "seed": 1}).encode(), JSON),
    "a wrong value": (json.dumps({**GOOD, "n": MARK}).encode(), JSON),
    "an unknown field": (json.dumps({**GOOD, MARK: MARK}).encode(), JSON),
    "too long a prompt": (json.dumps({"prompt": f"{MARK} " * 1_000}).encode(), JSON),
    "an array": (json.dumps([GOOD, {"prompt": MARK, "n": 0}, MARK]).encode(), JSON),
    "no JSON": (f'{{"prompt": "{MARK}'.encode(), JSON),
    "no text": (f'{{"prompt": "{MARK} '.encode() + b'\xff"}', JSON),
    "lines": (f"{json.dumps({**GOOD, 'custom_id': MARK})}\n{MARK}\n".encode(), "application/jsonl"),
    "another type": (json.dumps(GOOD).encode(), f"text/{MARK}"),
    "too large": (MARK.encode() * 300_000, JSON),
}


@pytest.fixture
def env(env: dict[str, str]) -> dict[str, str]:
    return {**env, "IMAGEMILL_API_BODY_TIMEOUT_S": "0.5"}


@pytest.fixture
def token(redis_client: redis.Redis, settings: Settings) -> str:
    return KeyStore(redis_client, settings).create("blog")[0]


@pytest.fixture
def client(process: Api, token: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=process.url, trust_env=False, timeout=DEADLINE_S) as client:
        yield client


def test_prompts_and_keys_stand_in_no_log(
    process: Api, log: list[str], client: httpx.Client, table: JobTable, redis_client: redis.Redis, token: str
) -> None:
    key = {"Authorization": f"Bearer {token}"}
    assert wait_until(lambda: client.get("/v1/models").status_code == 401, DEADLINE_S)  # It has heard of the key.
    done = client.post("/v1/jobs", json=GOOD, headers=key).json()["id"]
    claim = claim_job(table, done)
    table.finish(claim, Status.SUCCEEDED, artifacts=[IMAGE])
    answered: Counter[int] = Counter()
    for route in sorted(documented(client), reverse=True):  # POST first, DELETE last
        method, path = route.split()
        names = {"job_id": done, "batch_id": "none"}
        for keys in (key, {"x-api-key": token}, {"Authorization": f"Bearer {WRONG_KEY}"}, {"Authorization": MARK}):
            headers = {**keys, "Prefer": f"wait=0; {MARK}", "Last-Event-ID": MARK, "Idempotency-Key": MARK}
            where = f"{filled(path, **names)}?token={MARK}&cursor={MARK}&dry_run={MARK}"
            bodies = list(BODIES.values()) if method == "POST" and "images" not in path else [BODIES["a wrong value"]]
            for content, kind in bodies:
                sent = {**headers, "Content-Type": kind}
                answered[client.request(method, where, headers=sent, content=content).status_code] += 1
                plain = where.partition("?")[0]
                answered[client.request(method, plain, headers=sent, content=content).status_code] += 1
        answered[client.request("PUT", filled(path, **names), headers=key).status_code] += 1
    answered[slow_body(client, token)] += 1
    assert set(answered) >= {200, 202, 400, 401, 404, 405, 408, 409, 413, 415, 422}
    last = client.post("/v1/jobs", json=GOOD, headers=key)
    client.delete(f"/v1/jobs/{last.json()['id']}", headers=key)
    assert wait_until(lambda: any("DELETE" in line and last.json()["id"] in line for line in log), DEADLINE_S)
    assert [line for line in log if MARK in line or token in line or token[3:] in line] == []
    assert len([line for line in log if "path=/v1/jobs/batch" in line]) >= len(BODIES)


def slow_body(client: httpx.Client, token: str) -> int:
    """The status of a request whose body stops in the middle of a prompt."""
    url = client.base_url
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: {JSON}\r\n"
    with socket.create_connection((url.host, url.port), timeout=DEADLINE_S) as connection:
        connection.sendall(f'{head}Content-Length: 1000\r\n\r\n{{"prompt": "{MARK}'.encode())
        return int(connection.recv(65_536).split()[1])


def test_bug_is_logged_by_its_place_alone(
    make_app: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError(f"{MARK} {WRONG_KEY}")

    app: FastAPI = make_app()
    with TestClient(app, base_url="http://127.0.0.1") as api:
        monkeypatch.setattr(Views, "job", broken)
        answers = [api.post("/v1/jobs", json=GOOD), api.get("/v1/jobs", headers={"X-Token": MARK})]
    assert [(answer.status_code, MARK in answer.text) for answer in answers] == [(500, False)] * 2
    told = "".join(capsys.readouterr())
    assert "bug in the API" in told
    assert "ValueError" in told
    assert MARK not in told


def test_path_cannot_forge_a_line(client: httpx.Client, log: list[str], token: str) -> None:
    forged = "12:00:00 [info     ] forged"
    client.post(f"/v1/jobs/%0A{forged}", headers={"Authorization": f"Bearer {token}"})
    assert wait_until(lambda: any("forged" in line for line in log), DEADLINE_S)
    assert [line for line in log if line.startswith("12:00:00")] == []


def test_refused_requests_have_few_lines_together(client: httpx.Client, log: list[str], token: str) -> None:
    """Whoever has no key fills no disk."""
    times = 200
    for _ in range(times):
        assert client.post("/v1/jobs", json=GOOD, headers={"x-api-key": WRONG_KEY}).status_code == 401
    told = [line for line in log if "status=401" in line]
    assert 1 <= len(told) < times / 2

    def is_summed_up() -> bool:
        client.post("/v1/jobs", json=GOOD, headers={"x-api-key": WRONG_KEY})
        return any("others=" in line and "status=401" in line for line in log)

    assert wait_until(is_summed_up, DEADLINE_S)


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/none", 404), ("POST", "/health", 405)])
def test_nobody_fills_the_log_by_asking_for_what_there_is_not(
    client: httpx.Client, log: list[str], method: str, path: str, status: int
) -> None:
    times = 200
    for _ in range(times):
        assert client.request(method, path).status_code == status
    assert wait_until(lambda: any(f"status={status}" in line for line in log), DEADLINE_S)
    assert len([line for line in log if f"status={status}" in line]) < times / 2
