"""Jobs over HTTP: submitted, asked for, canceled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2 as httpx
import pytest
import redis
from fastapi.testclient import TestClient

from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.process import wait_until
from producer.api.app import create_app
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from tests.claims import claim_job
from tests.integration.producer.api.conftest import DEADLINE_S

PROMPT = "a large red circle on a blue background"
WARNINGS = ["prompt: cut to 77 tokens"]
IMAGE = {
    "key": "a/0.png",
    "thumbnail_key": "a/0.thumb.webp",
    "content_type": "image/png",
    "width": 128,
    "height": 128,
    "bytes": 7,
    "sha256": "0" * 64,
    "seed": 7,
}


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
    assert len(job["warnings"]) == 1  # That there is no worker.
    assert api.get(job["status_url"]).json() == job | {"warnings": []}


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


def test_same_idempotency_key_gives_the_first_job_and_other_parameters_a_conflict(api: TestClient) -> None:
    key = {"Idempotency-Key": "order-12"}
    first = submit(api, key, seed=7)
    assert submit(api, key, seed=7)["id"] == first["id"]
    answer = api.post("/v1/jobs", json={"prompt": PROMPT, "seed": 8}, headers=key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_conflict")
    both = api.post("/v1/jobs", json={"prompt": PROMPT, "idempotency_key": "another"}, headers=key)
    assert (both.status_code, both.json()["error"]["field"]) == (422, "idempotency_key")
    long = api.post("/v1/jobs", json={"prompt": PROMPT}, headers={"Idempotency-Key": "k" * 300})
    assert (long.status_code, long.json()["error"]["field"]) == (422, "idempotency_key")


def test_dry_run_settles_everything_and_queues_nothing(api: TestClient, redis_client: redis.Redis) -> None:
    answer = api.post("/v1/jobs", params={"dry_run": "true"}, json={"prompt": PROMPT, "n": 2})
    shown = answer.json()
    assert (answer.status_code, shown["object"], shown["queue"]) == (200, "dry_run", "gpu.shapes-flow")
    assert (shown["parameters"]["n"], shown["parameters"]["num_inference_steps"]) == (2, 8)
    assert (shown["queue_position"], shown["starts_in_s"]) == (1, None)
    assert redis_client.keys("imagemill:job:*") == []
    assert api.post("/v1/jobs", params={"dry_run": "true"}, json={"prompt": ""}).status_code == 422
    assert api.post("/v1/jobs", params={"dry_run": "perhaps"}, json={"prompt": PROMPT}).status_code == 422


@pytest.mark.parametrize(("prefer", "applied"), [("respond-async, wait=1", "wait=1"), ("wait=0", None), ("wait", None)])
def test_waiting_goes_on_no_longer_than_asked(api: TestClient, prefer: str, applied: str | None) -> None:
    answer = api.post("/v1/jobs", json={"prompt": PROMPT}, headers={"Prefer": prefer})
    assert (answer.status_code, answer.headers.get("preference-applied")) == (202, applied)
    assert answer.json()["status"] == "queued"


def test_waiting_job_says_where_it_stands_and_when_its_turn_comes(api: TestClient, table: JobTable) -> None:
    jobs = [submit(api) for _ in range(5)]
    assert [job["queue_position"] for job in jobs] == [1, 2, 3, 4, 5]
    assert jobs[0]["starts_in_s"] is None  # Nothing has ended here yet.
    for job in jobs[:2]:
        finish(table, job["id"])
    last = api.get(f"/v1/jobs/{jobs[4]['id']}").json()
    assert last["queue_position"] == 3
    assert last["starts_in_s"] >= 0
    assert api.get(f"/v1/jobs/{jobs[0]['id']}").json()["queue_position"] is None
    estimate = api.post("/v1/jobs", params={"dry_run": True}, json={"prompt": PROMPT}).json()
    assert (estimate["queue_position"], estimate["starts_in_s"] >= last["starts_in_s"]) == (4, True)
    urgent = api.post("/v1/jobs", params={"dry_run": True}, json={"prompt": PROMPT, "priority": "high"}).json()
    assert urgent["queue_position"] == 1


def test_dry_run_reckons_with_the_backlog_of_its_caller(
    settings: Settings, storage_settings: S3Settings, store: S3Store
) -> None:
    narrow = settings.model_copy(update={"release_window": 2})
    with TestClient(create_app(narrow, storage_settings), base_url="http://127.0.0.1") as api:
        for _ in range(5):
            submit(api, caller="busy")
        estimate = api.post("/v1/jobs", params={"dry_run": True}, json={"prompt": PROMPT, "caller": "busy"}).json()
        other = api.post("/v1/jobs", params={"dry_run": True}, json={"prompt": PROMPT, "caller": "other"}).json()
        assert (estimate["queue_position"], other["queue_position"]) == (6, 3)
        assert submit(api, caller="busy")["queue_position"] == 6


def test_jobs_are_listed_by_page_newest_first(api: TestClient, table: JobTable) -> None:
    jobs = [submit(api)["id"] for _ in range(5)]
    finish(table, jobs[1])
    listed: list[str] = []
    cursor = None
    while True:
        page = api.get("/v1/jobs", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        listed += [job["id"] for job in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert listed == jobs[::-1]
    done = api.get("/v1/jobs", params={"status": "succeeded", "model": "shapes-flow"}).json()["data"]
    assert [job["id"] for job in done] == [jobs[1]]
    assert done[0]["images"][0]["url"].startswith("http")
    assert api.get("/v1/jobs", params={"model": "dreams"}).json()["data"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", "0"), ("limit", "101"), ("limit", "x"), ("status", "done"), ("cursor", "é"), ("cursor", "abc")],
)
def test_wrong_parameter_of_a_list_is_named(api: TestClient, name: str, value: str) -> None:
    answer = api.get("/v1/jobs", params={name: value})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, name)


def test_waiting_is_answered_as_soon_as_the_job_has_ended(api: TestClient, table: JobTable) -> None:
    with ThreadPoolExecutor(1) as pool:
        headers = {"Prefer": "wait=600", "Idempotency-Key": "one"}
        waiting = pool.submit(lambda: api.post("/v1/jobs", json={"prompt": PROMPT}, headers=headers))
        assert wait_until(lambda: bool(api.get("/v1/queues").json()["data"]), DEADLINE_S)
        job = submit(api, {"Idempotency-Key": "one"})
        finish(table, job["id"])
        answer = waiting.result(DEADLINE_S)
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=5")
    assert (answer.json()["id"], answer.json()["status"]) == (job["id"], "succeeded")
    *of_the_run, of_the_submission = answer.json()["warnings"]
    assert of_the_run == api.get(job["status_url"]).json()["warnings"] == WARNINGS
    assert "no worker" in of_the_submission


def test_finished_job_has_its_images_with_links_that_work(api: TestClient, table: JobTable, store: S3Store) -> None:
    job = submit(api)
    store.put("a/0.png", b"picture", "image/png")
    store.put("a/0.thumb.webp", b"small", "image/webp")
    finish(table, job["id"])
    shown = api.get(f"/v1/jobs/{job['id']}").json()
    assert (shown["status"], shown["progress"], shown["timings"]) == ("succeeded", 1.0, {"generate": 0.5, "total": 0.7})
    (image,) = shown["images"]
    assert {name: image[name] for name in IMAGE if name in image} == {n: v for n, v in IMAGE.items() if n in image}
    assert httpx.get(image["url"], trust_env=False, timeout=DEADLINE_S).content == b"picture"
    assert httpx.get(image["thumbnail_url"], trust_env=False, timeout=DEADLINE_S).content == b"small"
    query = parse_qs(urlsplit(image["url"]).query)
    assert query["X-Amz-Expires"] == [str(store.settings.link_expiry_s)]
    assert api.get(f"/v1/jobs/{job['id']}").json()["images"] == shown["images"]  # Signed once.


def test_link_expires_and_whoever_asks_again_gets_a_fresh_one(
    settings: Settings, storage_settings: S3Settings, table: JobTable, store: S3Store
) -> None:
    store.put("a/0.png", b"picture", "image/png")
    brief = storage_settings.model_copy(update={"link_expiry_s": 2})
    with TestClient(create_app(settings, brief), base_url="http://127.0.0.1") as api:
        job = submit(api)
        finish(table, job["id"])

        def link() -> str:
            return str(api.get(f"/v1/jobs/{job['id']}").json()["images"][0]["url"])

        first = link()
        assert httpx.get(first, trust_env=False, timeout=DEADLINE_S).content == b"picture"
        assert wait_until(
            lambda: httpx.get(first, trust_env=False, timeout=DEADLINE_S).status_code in (400, 403), DEADLINE_S
        )
        assert httpx.get(link(), trust_env=False, timeout=DEADLINE_S).content == b"picture"


def test_canceling_ends_a_waiting_job_and_is_no_error_afterwards(api: TestClient, table: JobTable) -> None:
    job = submit(api)
    for _ in range(2):
        answer = api.delete(f"/v1/jobs/{job['id']}")
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    done = submit(api)
    finish(table, done["id"])
    assert api.delete(f"/v1/jobs/{done['id']}").json()["status"] == "succeeded"


def test_running_job_is_asked_to_leave(api: TestClient, table: JobTable) -> None:
    job = submit(api)
    claim = claim_job(table, job["id"])
    answer = api.delete(f"/v1/jobs/{job['id']}")
    assert (answer.status_code, answer.json()["status"]) == (200, "processing")
    assert table.begin(claim, Stage.ENCODE) is Status.CANCELED


@pytest.mark.parametrize("job_id", ["no-such-job", "a b", "..%2F..", "é", "x" * 5_000, "*", "%00"])
def test_job_that_is_not_there_is_not_found(api: TestClient, job_id: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
        answer = api.request(method, f"/v1/jobs/{job_id}{path}")
        assert answer.status_code == 404
        assert set(answer.json()["error"]) == {"code", "message", "field"}


def test_full_system_says_when_to_come_again(api: TestClient, redis_client: redis.Redis) -> None:
    used = redis_client.info("memory")["used_memory"]
    redis_client.config_set("maxmemory", used + 100_000)
    try:
        answer = api.post("/v1/jobs", json={"prompt": PROMPT})
    finally:
        redis_client.config_set("maxmemory", 0)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "system_full")
    assert int(answer.headers["retry-after"]) > 0


def test_models_and_queues_are_listed(api: TestClient) -> None:
    models = api.get("/v1/models").json()
    assert (models["object"], models["data"][0]["id"], models["data"][0]["object"]) == ("list", "shapes-flow", "model")
    assert (models["data"][0]["workers"], models["data"][0]["defaults"]["num_inference_steps"]) == (0, 8)
    takes = models["data"][1]["takes"]
    assert (takes["guidance"], takes["guided_above"], takes["negative_prompt"], takes["shift"]) == (
        "true",
        1,
        True,
        False,
    )
    assert (takes["side_multiple"], takes["max_prompt_chars"], takes["empty_negative_prompt"]) == (8, 4_000, "")
    assert takes["edits"] == {"image": "strength", "mask": "strength"}
    assert "ddim" in takes["schedulers"]
    assert (takes["max_steps"]["ddim"], takes["max_steps"]["lcm"]) == (200, 50)
    assert api.get("/v1/queues").json() == {"object": "list", "data": []}
    submit(api)
    (queue,) = api.get("/v1/queues").json()["data"]
    assert queue == {
        "queue": "gpu.shapes-flow",
        "model": "shapes-flow",
        "waiting": 1,
        "running": 0,
        "later": 0,
        "paused": False,
    }


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("PUT", "/v1/jobs", 405)])
def test_what_is_not_there_is_answered_in_the_same_form(api: TestClient, method: str, path: str, status: int) -> None:
    answer = api.request(method, path)
    assert (answer.status_code, set(answer.json()["error"])) == (status, {"code", "message", "field"})


def finish(table: JobTable, job_id: str) -> None:
    """What a worker does."""
    claim = claim_job(table, job_id)
    timings = {"generate": 0.5, "total": 0.7}
    table.finish(claim, Status.SUCCEEDED, artifacts=[IMAGE], timings=timings, warnings=WARNINGS)
