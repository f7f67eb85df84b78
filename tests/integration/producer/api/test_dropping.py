"""Ended jobs are dropped over HTTP, by their own caller alone, and what a key may keep is its own."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from producer.keys.store import KeyStore
from tests.integration.producer.api.test_jobs import submit


def canceled(api: TestClient, headers: dict[str, str], **fields: str) -> str:
    job_id = str(submit(api, headers, **fields)["id"])
    api.delete(f"/v1/jobs/{job_id}", headers=headers)
    return job_id


def test_ended_jobs_of_the_caller_are_dropped_by_status_and_age(api: TestClient, keys: KeyStore) -> None:
    one, two = ({"x-api-key": keys.create(name)[0]} for name in ("one", "two"))
    waits, ended, others = submit(api, one)["id"], canceled(api, one), canceled(api, two)

    def drop(**query: Any) -> dict[str, object]:
        answer = api.delete("/v1/jobs", params=query, headers=one)
        assert answer.status_code == 200, answer.text
        told: dict[str, object] = answer.json()
        return told

    nothing = {"object": "dropped", "dropped": 0, "next_cursor": None}
    assert drop(status=["succeeded", "failed"]) == nothing
    assert drop(status="canceled", older_than_s=3600) == nothing
    assert drop(status=["canceled", "failed"]) == nothing | {"dropped": 1}
    assert drop(status="canceled") == nothing
    assert api.get(f"/v1/jobs/{ended}", headers=one).status_code == 404
    assert api.get(f"/v1/jobs/{waits}", headers=one).status_code == 200
    assert api.get(f"/v1/jobs/{others}", headers=two).status_code == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "status"),
        ({"status": "queued"}, "status"),
        ({"status": "gone"}, "status"),
        ({"status": "canceled", "older_than_s": -1}, "older_than_s"),
        ({"status": "canceled", "cursor": "x"}, "cursor"),
    ],
)
def test_wrong_parameter_is_named_and_nothing_is_dropped(api: TestClient, query: dict[str, Any], field: str) -> None:
    job_id = canceled(api, {})
    answer = api.delete("/v1/jobs", params=query)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert api.get(f"/v1/jobs/{job_id}").status_code == 200


def test_key_whose_jobs_take_what_they_may_is_refused_and_others_are_not(api: TestClient, keys: KeyStore) -> None:
    narrow, other = ({"x-api-key": keys.create(name, max_kept_mib=size)[0]} for name, size in (("a", 1), ("b", None)))
    long = {**dict.fromkeys(("prompt", "negative_prompt"), "\N{LARGE RED CIRCLE}" * 4_000), "guidance_scale": 2}
    for _ in range(60):
        answer = api.post("/v1/jobs", json=long, headers=narrow)
        if answer.status_code != 202:
            break
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "quota_exceeded")
    assert "the jobs of a have reached their limit of 1 MiB" in answer.json()["error"]["message"]
    assert int(answer.headers["retry-after"]) > 0
    assert submit(api, other)["status"] == "queued"
    (job,) = api.get("/v1/jobs", params={"limit": 1}, headers=narrow).json()["data"]
    api.delete(f"/v1/jobs/{job['id']}", headers=narrow)
    assert submit(api, narrow, **long)["status"] == "queued"
    assert api.get(f"/v1/jobs/{job['id']}", headers=narrow).status_code == 404
