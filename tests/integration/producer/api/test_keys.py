"""Each key by itself: no job of another's is seen, followed, listed or canceled."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2 as httpx
import pytest
import redis
from fastapi.testclient import TestClient

from jobs.settings import Settings
from jobs.states import Status
from jobs.table import JobTable
from producer.keys.store import KeyStore
from tests.integration.producer.api.sse import listening

BODY = {"prompt": "a large red circle on a blue background"}


@pytest.fixture
def keys(redis_client: redis.Redis, settings: Settings) -> KeyStore:
    return KeyStore(redis_client, settings)


@pytest.fixture
def blog(keys: KeyStore) -> dict[str, str]:
    return {"Authorization": f"Bearer {keys.create('blog')[0]}"}


@pytest.fixture
def shop(keys: KeyStore) -> Iterator[dict[str, str]]:
    yield {"Authorization": f"Bearer {keys.create('shop')[0]}"}


def test_job_of_another_key_is_answered_as_if_it_were_not_there(
    api: TestClient, table: JobTable, blog: dict[str, str], shop: dict[str, str]
) -> None:
    job_id = api.post("/v1/jobs", json=BODY, headers=blog).json()["id"]
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
        theirs = api.request(method, f"/v1/jobs/{job_id}{path}", headers=shop)
        missing = api.request(method, f"/v1/jobs/no-such-job{path}", headers=shop)
        assert (theirs.status_code, theirs.json()["error"]["code"]) == (404, "job_not_found")
        assert theirs.text.replace(job_id, "ID") == missing.text.replace("no-such-job", "ID")
    assert table.get(job_id).status is Status.QUEUED
    assert api.get("/v1/jobs", headers=shop).json()["data"] == []
    assert [job["caller"] for job in api.get("/v1/jobs", headers=blog).json()["data"]] == ["blog"]
    assert api.delete(f"/v1/jobs/{job_id}", headers=blog).json()["status"] == "canceled"


def test_same_idempotency_key_of_two_keys_is_two_jobs(
    api: TestClient, blog: dict[str, str], shop: dict[str, str]
) -> None:
    answers = [api.post("/v1/jobs", json=BODY, headers={**key, "Idempotency-Key": "one"}) for key in (blog, shop)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json()["id"] for answer in answers}) == 2


def test_without_a_valid_key_every_route_is_closed_but_health(api: TestClient, blog: dict[str, str]) -> None:
    job_id = api.post("/v1/jobs", json=BODY, headers=blog).json()["id"]
    routes = [("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("GET", "/v1/models"), ("GET", "/v1/queues")]
    routes += [(method, f"/v1/jobs/{job_id}") for method in ("GET", "DELETE")] + [("GET", f"/v1/jobs/{job_id}/events")]
    for headers in ({}, {"Authorization": "Bearer im_wrong"}):
        for method, path in routes:
            answer = api.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert [api.get(path).status_code for path in ("/health", "/ready", "/docs", "/openapi.json")] == [200] * 4


def test_limits_of_a_key_are_answered_by_their_names(api: TestClient, keys: KeyStore) -> None:
    narrow = {"x-api-key": keys.create("narrow", max_queued=1)[0]}
    assert api.post("/v1/jobs", json=BODY, headers=narrow).status_code == 202
    full = api.post("/v1/jobs", json=BODY, headers=narrow)
    assert (full.status_code, full.json()["error"]["code"], full.headers["retry-after"]) == (429, "quota_exceeded", "5")
    rare = {"x-api-key": keys.create("rare", rate="1/hour")[0]}
    assert api.get("/v1/models", headers=rare).status_code == 200
    often = api.get("/v1/models", headers=rare)
    assert (often.status_code, often.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    other = {"x-api-key": keys.create("other", models=["dreams"])[0]}
    assert api.get("/v1/models", headers=other).json()["data"] == []
    refused = api.post("/v1/jobs", json=BODY, headers=other)
    assert (refused.status_code, refused.json()["error"]["field"]) == (403, "model")
    signed = api.post("/v1/jobs", json={**BODY, "caller": "blog"}, headers=other)
    assert (signed.status_code, signed.json()["error"]["field"]) == (422, "caller")


def test_stream_is_open_to_its_own_key(replica: str, table: JobTable, blog: dict[str, str]) -> None:
    job = httpx.post(f"{replica}/v1/jobs", json=BODY, headers=blog, trust_env=False).json()
    table.cancel(job["id"])
    with listening(job["events_url"], headers=blog) as told:
        assert [each.event for each in told] == ["completed"]
