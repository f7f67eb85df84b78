"""Batches are below /v1/jobs; their old paths lead there, and jobs of any name stay jobs."""

from __future__ import annotations

import httpx2 as httpx
import pytest
import redis
from fastapi.testclient import TestClient

from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.registry import parse_request, settle
from jobs.process.settings import Settings
from jobs.submit import submission_of
from jobs.table.states import Status
from jobs.table.table import JobTable
from producer.keys.store import KeyStore
from storage.backends.s3.store import S3Store
from tests.claims import claim_job
from tests.integration.producer.api.test_batches import PROMPT, send
from tests.integration.producer.api.test_jobs import IMAGE

# Method, and what stood behind /v1/batches/ID.
OLD = [("GET", ""), ("HEAD", ""), ("DELETE", ""), ("GET", "/results"), ("HEAD", "/results")]


def old(url: str) -> str:
    """The path by which an older version called a batch."""
    return httpx.URL(url).path.replace("/v1/jobs/batches/", "/v1/batches/")


@pytest.mark.parametrize(("method", "behind"), OLD)
def test_old_path_of_a_batch_leads_to_its_new_one(api: TestClient, method: str, behind: str) -> None:
    url, _ = send(api, {"prompt": PROMPT})
    path = httpx.URL(url).path + behind
    moved = api.request(method, old(url) + behind, follow_redirects=False)
    assert (moved.status_code, moved.headers["location"]) == (308, url + behind)
    assert moved.headers["cache-control"] == "no-store"
    if method != "HEAD":
        error = moved.json()["error"]
        assert (error["code"], path in error["message"]) == ("moved", True)
    followed, asked = api.request(method, old(url) + behind, follow_redirects=True), api.request(method, path)
    assert (followed.status_code, followed.text) == (200, asked.text)


def test_old_path_changes_nothing_by_itself(api: TestClient) -> None:
    url, _ = send(api, {"prompt": PROMPT})
    assert api.delete(old(url), follow_redirects=False).status_code == 308
    assert api.get(url).json()["status"] == "in_progress"
    assert api.delete(old(url)).json()["status"] == "canceled"


def test_old_path_is_closed_without_a_key_and_says_nothing_of_whose_it_is(
    api: TestClient, redis_client: redis.Redis, settings: Settings
) -> None:
    keys = KeyStore(redis_client, settings)
    one, two = ({"Authorization": f"Bearer {keys.create(name)[0]}"} for name in ("one", "two"))
    url, _ = send(api, {"prompt": PROMPT}, **one)
    assert api.get(old(url), follow_redirects=False).status_code == 401
    for path in (old(url), "/v1/batches/none", "/v1/batches/a%20b"):
        assert api.get(path, headers=two, follow_redirects=False).status_code == 308
        assert api.get(path, headers=two).json()["error"]["code"] == "batch_not_found"


def test_methods_of_an_old_path_are_those_it_had(api: TestClient) -> None:
    answer = api.post("/v1/batches/none")
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD", "DELETE", "OPTIONS"})
    assert api.post("/v1/batches").status_code == 404  # OpenAI's way to make one, which is not here.


@pytest.mark.parametrize("name", ["batch", "batches"])
def test_job_of_such_a_name_is_a_job(
    api: TestClient, table: JobTable, catalogue: Catalogue, store: S3Store, name: str
) -> None:
    """Plain Celery may call one anything."""
    store.put("a/0.png", b"content", "image/png")
    request = parse_request({"prompt": PROMPT})
    table.submit(submission_of(request, settle(request, catalogue), catalogue, job_id=name, origin="celery"))
    path = f"/v1/jobs/{name}"
    assert api.get(path).json()["status"] == "queued"
    assert api.patch(path, json={"priority": "low"}).json()["id"] == name
    claim = claim_job(table, name)
    table.finish(claim, Status.SUCCEEDED, artifacts=[IMAGE])
    assert "event: completed" in api.get(f"{path}/events").text
    assert api.get(f"{path}/images/0").content == b"content"
    assert api.get(f"{path}/artifacts/0").json()["error"]["message"].startswith("this job has no artifact 0; it has 0")
    assert api.delete(path).json()["id"] == name
