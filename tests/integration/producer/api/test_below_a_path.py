"""Behind a proxy that serves the API below a path of its own name: nothing in an answer leads anywhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from fastapi import FastAPI
from fastapi.testclient import TestClient

from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from producer.api.settings import ApiSettings
from producer.keys.store import KeyStore
from tests.claims import claim_job
from tests.integration.producer.api.routes import documented
from tests.integration.producer.api.test_jobs import IMAGE

PUBLIC = "https://example.org/images"
BODY = {"prompt": "a red circle"}
OTHER = {"key": "a/1.bin", "content_type": "application/x-tensor", "bytes": 4, "sha256": "00", "name": "latents"}


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings(public_url=f"{PUBLIC}/", image_links="api", max_wait_s=1)


@pytest.fixture
def api(api: TestClient, redis_client: redis.Redis, settings: Settings) -> Iterator[TestClient]:
    """As a proxy asks it: by an address that is nobody else's, and without the path."""
    api.headers = {"Authorization": f"Bearer {KeyStore(redis_client, settings).create('blog')[0]}", "Host": "10.0.0.7"}
    api.follow_redirects = False
    yield api


def urls_in(value: Any) -> list[str]:
    """Of a body or a stream of events: whatever looks like one."""
    return re.findall(r"https?://[^\s\"\\]+", value if isinstance(value, str) else json.dumps(value))


def test_every_url_of_every_answer_is_below_it(api: TestClient, table: JobTable) -> None:
    submitted = api.post("/v1/jobs", json=BODY)
    assert submitted.headers["location"] == submitted.json()["status_url"]
    claim = claim_job(table, submitted.json()["id"])
    table.finish(claim, Status.SUCCEEDED, artifacts=[IMAGE, OTHER])
    batch = api.post("/v1/jobs/batch", content=json.dumps(BODY), headers={"Content-Type": "application/jsonl"})
    names = {"job_id": claim.job_id, "batch_id": batch.headers["location"].rsplit("/", 1)[1], "index": "0"}
    answers = [submitted, batch]
    for route in documented(api) - {"POST /v1/images/generations"}:  # It waits for a worker; `tests/proxy` has both.
        method, path = route.split()
        url = path.format(**{name: names.get(name, "x") for name in re.findall(r"{(\w+)}", path)})
        answers.append(api.request(method, url, json=BODY if method == "POST" else None))
    found = [url for each in answers for url in (*urls_in(each.text), *urls_in(each.headers.get("location", "")))]
    assert len(found) > 10
    assert [url for url in found if not url.startswith(f"{PUBLIC}/v1/")] == []


def test_document_says_where_the_api_is(api: TestClient) -> None:
    assert api.get("/openapi.json").json()["servers"] == [{"url": PUBLIC}]


def test_page_loads_its_things_from_beside_itself(api: TestClient) -> None:
    for path, beside in (("/docs", "./"), ("/docs/", "../")):
        page = api.get(path)
        assert page.status_code == 200
        named = re.findall(r"(?:src|href)=\"([^\"]+)\"|url: '([^']+)'", page.text)
        found = [first or second for first, second in named]
        assert len(found) == 4
        for each in found:
            assert each.startswith(beside)
            assert api.get(each.removeprefix(beside[:-1])).status_code == 200


def test_slash_at_the_end_is_taken_and_leads_nowhere_else(api: TestClient) -> None:
    for path in ("/v1/jobs", "/v1/models", "/health", "/docs", "/openapi.json", "/none"):
        plain, slashed = api.get(path), api.get(f"{path}/")
        assert (slashed.status_code, "location" in slashed.headers) == (plain.status_code, False), path
    assert api.post("/v1/jobs/", json=BODY).status_code == 202
    assert api.get("/v1/jobs//").status_code == 404
    assert api.get("/").status_code == 404


def test_nobody_is_let_in_before_there_is_a_key_where_others_are_meant_to_come(make_app: Callable[[], FastAPI]) -> None:
    with TestClient(make_app(), base_url="http://127.0.0.1") as api:
        assert (api.post("/v1/jobs", json=BODY).status_code, api.get("/health").status_code) == (401, 200)
