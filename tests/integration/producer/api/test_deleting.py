"""Results deleted over HTTP: what is told of them from then on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient

from jobs import names
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.process import wait_until
from producer.api.settings import ApiSettings
from producer.keys.store import KeyStore
from storage.backends.s3.store import S3Store
from tests.claims import claim_job
from tests.integration.producer.api.conftest import DEADLINE_S
from tests.integration.producer.api.test_batches import lines, send
from tests.integration.producer.api.test_jobs import IMAGE, submit

PROMPT = "a zebracorn on a white background"
OTHER = {"key": "a/1.txt", "content_type": "text/plain", "bytes": 7, "sha256": "00", "name": "words"}


def finish(table: JobTable, store: S3Store, job_id: str) -> str:
    for key in ("a/0.png", "a/0.thumb.webp", "a/1.txt"):
        store.put(key, b"content", "image/png")
    claim = claim_job(table, job_id)
    table.finish(claim, Status.SUCCEEDED, artifacts=[IMAGE, OTHER], data={"caption": PROMPT})
    return job_id


@pytest.fixture
def done(api: TestClient, table: JobTable, store: S3Store) -> Iterator[str]:
    """A job with a picture, a thumbnail and another object."""
    yield finish(table, store, submit(api, prompt=PROMPT)["id"])
    store.delete_many(["a/0.png", "a/0.thumb.webp", "a/1.txt"])


def deleted(api: TestClient, job_id: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    answer = api.delete(f"/v1/jobs/{job_id}/result", headers=headers)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def test_result_is_gone_and_what_stays_is_told(api: TestClient, done: str, redis_client: redis.Redis) -> None:
    before = api.get(f"/v1/jobs/{done}").json()
    job = deleted(api, done)
    assert (job["result"], job["deleted_images"], job["images"], job["artifacts"]) == ("deleting", 1, [], [])
    assert job["deleted_at"] >= job["ended_at"]
    assert {name: job[name] for name in ("id", "status", "ended_at", "timings")} == {
        name: before[name] for name in ("id", "status", "ended_at", "timings")
    }
    shown = [api.get(f"/v1/jobs/{done}").text, api.get("/v1/jobs").text, api.get(f"/v1/jobs/{done}/events").text]
    assert [text for text in shown if "zebracorn" in text or '"result":"deleting"' not in text] == []

    note = json.loads(str(redis_client.hget(names.DELETION_NOTES, done)))
    redis_client.hset(names.DELETION_NOTES, done, json.dumps({**note, "since": "1.0"}))  # As if a lease had passed.
    redis_client.zadd(names.DELETIONS, {done: 1.0})
    assert wait_until(lambda: api.delete(f"/v1/jobs/{done}/result").status_code == 200, DEADLINE_S)
    assert api.get(f"/v1/jobs/{done}").json()["result"] == "gone"


def test_files_are_deleted_at_once_and_asked_for_are_gone(api: TestClient, done: str, store: S3Store) -> None:
    paths = [f"/v1/jobs/{done}/{each}" for each in ("images/0", "images/0/thumbnail", "artifacts/0", "images/9")]
    assert [api.get(path).status_code for path in paths] == [200, 200, 200, 404]
    deleted(api, done)
    assert wait_until(lambda: not list(store.objects("a/")), DEADLINE_S)
    for path in paths:
        answer = api.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "gone"), path
        assert done in answer.json()["error"]["message"]
        assert api.head(path).status_code == 410


def test_batch_and_openai_s_clients_are_told(api: TestClient, table: JobTable, store: S3Store) -> None:
    url, answers = send(api, {"prompt": PROMPT, "custom_id": "c1"})
    deleted(api, finish(table, store, answers[0]["id"]))
    (line,) = lines(api.get(f"{url}/results").text)
    assert (line["custom_id"], line["job"]["result"], "zebracorn" in json.dumps(line)) == ("c1", "deleting", False)

    key = {"Idempotency-Key": "order-12"}
    body = {"prompt": PROMPT, "response_format": "url"}
    submitted = submit(api, key, prompt=PROMPT)
    deleted(api, finish(table, store, submitted["id"]))
    again = api.post("/v1/jobs", json={"prompt": PROMPT}, headers=key)
    assert (again.json()["id"], again.json()["result"]) == (submitted["id"], "deleting")
    told = api.post("/v1/images/generations", json=body, headers=key)
    assert (told.status_code, told.json()["error"]["code"]) == (410, "gone")
    assert told.json()["error"]["type"] == "invalid_request_error"


def test_job_that_goes_on_is_to_be_canceled_first(api: TestClient) -> None:
    job_id = submit(api)["id"]
    answer = api.delete(f"/v1/jobs/{job_id}/result")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "job_not_ended")
    assert "cancel it first" in answer.json()["error"]["message"]
    api.delete(f"/v1/jobs/{job_id}")
    assert deleted(api, job_id)["status"] == "canceled"
    for missing in ("none", "a%20b"):
        answer = api.delete(f"/v1/jobs/{missing}/result")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")


class TestByLinksOfTheApi:
    @pytest.fixture
    def api_settings(self) -> ApiSettings:
        return ApiSettings(max_wait_s=5, image_links="api")

    def test_link_that_was_given_out_is_gone_and_another_s_key_deletes_nothing(
        self, api: TestClient, table: JobTable, store: S3Store, redis_client: redis.Redis, settings: Settings
    ) -> None:
        keys = KeyStore(redis_client, settings)
        own, other = ({"x-api-key": keys.create(name)[0]} for name in ("own", "other"))
        job_id = finish(table, store, submit(api, own, prompt=PROMPT)["id"])
        link = api.get(f"/v1/jobs/{job_id}", headers=own).json()["images"][0]["url"]
        assert api.delete(f"/v1/jobs/{job_id}/result", headers=other).status_code == 404
        assert api.get(link).status_code == 200
        deleted(api, job_id, own)
        assert (api.get(link).status_code, api.get(link).json()["error"]["code"]) == (410, "gone")
