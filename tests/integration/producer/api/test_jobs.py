"""Jobs over HTTP: submitted, asked for, canceled."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient

from jobs.states import Status
from jobs.table import JobTable

PROMPT = "a large red circle on a blue background"


def submit(api: TestClient, headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    answer = api.post("/v1/jobs", json={"prompt": PROMPT, **fields}, headers=headers)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def test_submitted_job_is_queued_and_says_where_to_ask_for_it(api: TestClient, table: JobTable) -> None:
    answer = api.post("/v1/jobs", json={"prompt": PROMPT, "seed": 7, "metadata": {"order": "12"}})
    job = answer.json()
    assert (answer.status_code, job["status"]) == (202, "queued")
    assert answer.headers["location"] == job["status_url"] == f"http://127.0.0.1/v1/jobs/{job['id']}"
    assert (job["events_url"], job["cancel_url"]) == (f"{job['status_url']}/events", job["status_url"])
    assert (job["parameters"]["seed"], job["metadata"], job["caller"]) == (7, {"order": "12"}, "default")
    assert table.get(job["id"]).status is Status.QUEUED
    assert api.get(job["status_url"]).json() == job


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "a" * 1_000_000}, "prompt"),
        ({"prompt": PROMPT, "n": 0}, "n"),
        ({"prompt": PROMPT, "colour": "red"}, "colour"),
        ({"prompt": PROMPT, "model": "dreams"}, "model"),
        ({"prompt": PROMPT, "seed": 10**30}, "seed"),
    ],
)
def test_wrong_field_is_named_and_nothing_is_queued(
    api: TestClient, redis_client: redis.Redis, body: dict[str, Any], field: str
) -> None:
    answer = api.post("/v1/jobs", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["field"]) == (422, field)
    assert error["message"].startswith(f"{field}: ")
    assert redis_client.keys("imagemill:job:*") == []
