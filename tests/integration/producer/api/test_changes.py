"""The place of a job that waits is changed over HTTP, among its caller's own."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient

from jobs import names
from jobs.process.settings import Settings
from jobs.table.table import JobTable
from producer.keys.store import KeyStore
from tests.integration.producer.api.test_jobs import PROMPT, submit

QUEUE = "gpu.shapes-flow"


@pytest.fixture
def waiting(api: TestClient, settings: Settings) -> list[str]:
    """Jobs of one caller behind as many as the line takes."""
    for _ in range(settings.release_window):
        submit(api)
    return [submit(api)["id"] for _ in range(3)]


def change(api: TestClient, job_id: str, **fields: Any) -> dict[str, Any]:
    answer = api.patch(f"/v1/jobs/{job_id}", json=fields)
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


def in_turn(client: redis.Redis) -> list[str]:
    return [str(each) for each in client.zrange(names.waiting_key(QUEUE, "default"), 0, -1)]


def test_priority_of_a_waiting_job_is_another_for_all_who_see_it(
    api: TestClient, waiting: list[str], table: JobTable
) -> None:
    before = api.get(f"/v1/jobs/{waiting[2]}").json()
    changed = change(api, waiting[2], priority="high")
    assert (before["parameters"]["priority"], changed["parameters"]["priority"]) == ("normal", "high")
    assert changed["queue_position"] < before["queue_position"]
    assert changed["parameters"] == before["parameters"] | {"priority": "high"}
    assert api.get(f"/v1/jobs/{waiting[2]}").json() == changed
    assert (table.get(waiting[2]).payload or {})["priority"] == "high"
    assert change(api, waiting[2], priority="normal")["parameters"] == before["parameters"]
    assert "priority" not in (table.get(waiting[2]).payload or {})


def test_job_that_is_moved_to_the_front_is_the_first_of_its_priority(
    api: TestClient, waiting: list[str], redis_client: redis.Redis
) -> None:
    first, second, third = waiting
    moved = change(api, third, position="front")
    assert moved["parameters"]["priority"] == "normal"
    assert in_turn(redis_client) == [third, first, second]
    change(api, second, position="front")
    assert in_turn(redis_client) == [second, third, first]
    change(api, first, priority="high")
    assert in_turn(redis_client) == [first, second, third]
    change(api, third, priority="high", position="front")
    assert in_turn(redis_client) == [third, first, second]


def test_line_of_a_batch_is_moved_like_any_job(api: TestClient, waiting: list[str], redis_client: redis.Redis) -> None:
    answer = api.post("/v1/jobs/batch", json=[{"prompt": PROMPT} for _ in range(2)])
    lines = [json.loads(each) for each in answer.text.splitlines()]
    last = lines[-1]["id"]
    assert change(api, last, position="front")["batch"]
    assert in_turn(redis_client) == [last, *waiting, lines[0]["id"]]


@pytest.mark.parametrize("status", ["processing", "canceled"])
def test_job_that_has_begun_or_ended_has_no_place(api: TestClient, table: JobTable, status: str) -> None:
    job_id = submit(api)["id"]
    if status == "processing":
        assert table.claim(job_id, owner="a worker")[0] is not None
    else:
        table.cancel(job_id)
    before = table.get(job_id)
    answer = api.patch(f"/v1/jobs/{job_id}", json={"priority": "high"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "job_not_queued")
    assert answer.json()["error"]["message"].startswith(f"job {job_id} is {status}: only a queued job")
    assert table.get(job_id) == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "request"),
        ({"priority": None, "position": None}, "request"),
        ({"priority": "urgent"}, "priority"),
        ({"priority": 3}, "priority"),
        ({"position": "back"}, "position"),
        ({"position": 1}, "position"),
        ({"priority": "high", "seed": 7}, "seed"),
        ({"caller": "another"}, "caller"),
    ],
)
def test_wrong_change_is_refused_by_name(api: TestClient, table: JobTable, body: dict[str, Any], field: str) -> None:
    job_id = submit(api)["id"]
    before = table.get(job_id)
    answer = api.patch(f"/v1/jobs/{job_id}", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field), answer.text
    assert table.get(job_id) == before


def test_job_that_is_not_there_cannot_be_changed(api: TestClient) -> None:
    answer = api.patch("/v1/jobs/no-such-job", json={"priority": "high"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")


def test_change_of_one_key_moves_nobody_elses_job(
    api: TestClient, redis_client: redis.Redis, settings: Settings, table: JobTable
) -> None:
    keys = KeyStore(redis_client, settings)
    one, two = ({"x-api-key": keys.create(name)[0]} for name in ("one", "two"))
    jobs = [submit(api, headers)["id"] for headers in [one] * (settings.release_window + 2) + [two] * 2]
    answer = api.patch(f"/v1/jobs/{jobs[-1]}", json={"priority": "high", "position": "front"}, headers=two)
    assert (answer.status_code, answer.json()["queue_position"]) == (200, settings.release_window + 1)
    released = [each for job_id in jobs[:4] for each in table.claim(job_id, owner="a worker", gives_way=True)[1]]
    assert released[0] == jobs[-1], "it is the first of its own"
    assert [each for each in released if each not in jobs[-2:]] == jobs[-4:-2], "those of the other stand as they did"


def test_weight_of_a_key_goes_with_its_jobs(api: TestClient, redis_client: redis.Redis, settings: Settings) -> None:
    keys = KeyStore(redis_client, settings)
    tokens = [keys.create("usual")[0], keys.create("heavy", weight=4)[0]]
    jobs = [submit(api, {"x-api-key": token}, n=2)["id"] for token in tokens]
    costs = [redis_client.hget(names.job_key(job_id), "cost") for job_id in jobs]
    assert costs == ["2", "0.5"]
