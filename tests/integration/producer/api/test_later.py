"""Jobs over HTTP that are not to begin yet, or may not run for long."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient

from jobs import names

PROMPT = "a large red circle on a blue background"
LATER_S = 3600


def submit(api: TestClient, **fields: Any) -> dict[str, Any]:
    answer = api.post("/v1/jobs", json={"prompt": PROMPT, **fields})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def test_job_is_seen_waiting_for_its_time(api: TestClient) -> None:
    job = submit(api, start_after=LATER_S)
    for shown in (job, api.get(job["status_url"]).json(), api.get("/v1/jobs").json()["data"][0]):
        assert (shown["status"], shown["queue_position"], shown["starts_in_s"]) == ("queued", None, None)
        assert shown["not_before"] == pytest.approx(shown["created_at"] + LATER_S)
        assert shown["parameters"]["start_after"] == LATER_S
    (queue,) = api.get("/v1/queues").json()["data"]
    assert (queue["waiting"], queue["later"]) == (0, 1)
    assert submit(api)["queue_position"] == 1
    assert submit(api)["not_before"] is None


def test_job_is_canceled_before_its_time(api: TestClient) -> None:
    job = submit(api, start_after=LATER_S)
    assert api.delete(job["cancel_url"]).json()["status"] == "canceled"
    assert api.get("/v1/queues").json()["data"][0]["later"] == 0


def test_job_whose_time_has_come_stands_in_line(api: TestClient, redis_client: redis.Redis) -> None:
    job = submit(api, start_after=LATER_S)
    redis_client.hset(names.job_key(job["id"]), "not_before", 1)
    assert api.get(job["status_url"]).json()["queue_position"] == 1


def test_dry_run_says_that_it_has_no_place_yet(api: TestClient) -> None:
    body = {"prompt": PROMPT, "start_after": LATER_S}
    shown = api.post("/v1/jobs", params={"dry_run": True}, json=body).json()
    assert (shown["queue_position"], shown["parameters"]["start_after"]) == (None, LATER_S)


@pytest.mark.parametrize("field", ["deadline", "start_deadline"])
@pytest.mark.parametrize("seconds", [1, LATER_S])
def test_job_that_is_over_before_it_may_begin_is_refused(
    api: TestClient, redis_client: redis.Redis, field: str, seconds: float
) -> None:
    answer = api.post("/v1/jobs", json={"prompt": PROMPT, "start_after": LATER_S, field: seconds})
    error = answer.json()["error"]
    assert (answer.status_code, error["field"]) == (422, field)
    assert error["message"] == f"{field}: must be more than start_after, which is 3600 s"
    assert redis_client.keys("imagemill:job:*") == []
    assert submit(api, start_after=LATER_S, **{field: LATER_S + 1})["status"] == "queued"


@pytest.mark.parametrize("field", ["start_after", "time_limit"])
@pytest.mark.parametrize("seconds", [0, -1, "5", 10**9])
def test_time_that_makes_no_sense_is_refused_by_its_name(api: TestClient, field: str, seconds: Any) -> None:
    answer = api.post("/v1/jobs", json={"prompt": PROMPT, field: seconds})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


def test_time_limit_is_kept_with_the_job(api: TestClient, redis_client: redis.Redis) -> None:
    job = submit(api, time_limit=90)
    assert job["parameters"]["time_limit"] == 90
    assert float(redis_client.hget(names.job_key(job["id"]), "time_limit") or 0) == 90


def test_lines_of_a_batch_have_times_of_their_own(api: TestClient) -> None:
    lines = [{"prompt": PROMPT, "start_after": LATER_S}, {"prompt": PROMPT}, {"prompt": PROMPT, "start_after": 0}]
    body = "".join(json.dumps(each) + "\n" for each in lines)
    answer = api.post("/v1/jobs/batch", content=body, headers={"Content-Type": "application/jsonl"})
    answers = [json.loads(each) for each in answer.text.splitlines()]
    assert [(each["error"] or {}).get("field") for each in answers] == [None, None, "start_after"]
    later, now = (api.get(f"/v1/jobs/{each['id']}").json() for each in answers[:2])
    assert (later["queue_position"], now["queue_position"]) == (None, 1)
    assert later["not_before"] > now["created_at"]


def test_document_has_both(api: TestClient) -> None:
    schema = api.get("/openapi.json").json()["components"]["schemas"]["GenerateRequest"]["properties"]
    assert {"start_after", "time_limit"} <= set(schema)
