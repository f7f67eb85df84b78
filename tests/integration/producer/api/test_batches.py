"""Batches over HTTP: each line has its answer, and all are asked for and canceled as one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient

from jobs.fields import MAX_PROMPT_CHARS
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from jobs.view import view_of
from producer.keys.store import KeyStore
from tests.claims import claim_job
from tests.integration.producer.api.test_jobs import IMAGE

PROMPT = "a large red circle on a blue background"
JSONL = {"Content-Type": "application/jsonl"}
JSON = {"Content-Type": "application/json"}


def jsonl(*items: Any) -> str:
    return "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in items)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(each) for each in text.splitlines()]


def send(api: TestClient, *items: Any, **headers: str) -> tuple[str, list[dict[str, Any]]]:
    """The batch's URL, and what became of each line."""
    answer = api.post("/v1/jobs/batch", content=jsonl(*items), headers=JSONL | headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/jsonl")
    return answer.headers["location"], lines(answer.text)


def test_each_line_is_queued_or_refused_by_itself(api: TestClient, table: JobTable) -> None:
    url, answers = send(
        api,
        {"prompt": PROMPT, "custom_id": "a", "seed": 7},
        {"prompt": PROMPT, "custom_id": "b", "width": 0},
        "",
        "{nonsense",
        "7",
        {"prompt": PROMPT, "custom_id": 5},
        {"prompt": "x" * 2_000_000},
        {"prompt": PROMPT},
    )
    assert [each["line"] for each in answers] == list(range(1, 8))
    assert [each["custom_id"] for each in answers] == ["a", "b", *[None] * 5]
    assert [(each["error"] or {}).get("field") for each in answers] == [
        *(None, "width", "request", "request", "custom_id", "request", None)
    ]
    assert [each["id"] is None for each in answers] == [False, *[True] * 5, False]
    record = view_of(table.get(answers[0]["id"]))
    assert record.spec is not None
    assert (record.spec.seed, record.custom_id, record.batch) == (7, "a", url.rsplit("/", 1)[1])
    counts = api.get(url).json()["counts"]
    assert (counts["total"], counts["queued"], counts["refused"]) == (2, 2, 5)


def test_longest_prompts_fit_into_a_line_and_are_held_against_the_model(api: TestClient) -> None:
    long = "\N{LARGE RED CIRCLE}" * MAX_PROMPT_CHARS  # JSON escapes each by twelve characters.
    tags = {f"{number:064}": "\N{LARGE RED CIRCLE}" * 512 for number in range(16)}
    _, (answer,) = send(api, {"model": "shapes", "prompt": long, "negative_prompt": long, "metadata": tags})
    assert answer["error"]["message"] == "prompt: shapes takes at most 4000 characters"


def test_array_is_taken_like_lines(api: TestClient) -> None:
    answer = api.post("/v1/jobs/batch", json=[{"prompt": PROMPT, "custom_id": "a, [b]"}, {"prompt": ""}])
    first, second = lines(answer.text)
    assert (first["custom_id"], first["error"]) == ("a, [b]", None)
    assert second["error"]["field"] == "prompt"


def test_lines_are_taken_by_each_of_their_names_and_as_other_programs_write_them(api: TestClient) -> None:
    body = '\ufeff{"prompt": "a star", "custom_id": "a"}\r\n{"prompt": "a ring", "custom_id": "b"}\r\n\r\n\n'
    for name in ("jsonl", "x-jsonl", "jsonlines", "x-jsonlines", "ndjson", "x-ndjson"):
        kind = {"Content-Type": f"Application/{name}; charset=utf-8"}
        answer = api.post("/v1/jobs/batch", content=body.encode(), headers=kind)
        assert [(each["custom_id"], each["error"]) for each in lines(answer.text)] == [("a", None), ("b", None)], name
    array = api.post("/v1/jobs/batch", content=b'\xef\xbb\xbf[{"prompt": "a star"}]', headers=JSON)
    assert [each["error"] for each in lines(array.text)] == [None]


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        ("", "application/jsonl", 422, "invalid_request"),
        ("[]", "application/json", 422, "invalid_request"),
        ("[1", "application/json", 400, "malformed_body"),
        ("{}", "text/plain", 415, "unsupported_media_type"),
        ("{}", "", 415, "unsupported_media_type"),
    ],
)
def test_request_that_is_no_batch_is_refused_whole(
    api: TestClient, redis_client: redis.Redis, body: str, kind: str, status: int, code: str
) -> None:
    answer = api.post("/v1/jobs/batch", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert list(redis_client.scan_iter("imagemill:batch*")) == []


def test_same_key_and_lines_give_the_same_batch_and_jobs(api: TestClient) -> None:
    items = [{"prompt": PROMPT}, {"prompt": PROMPT, "idempotency_key": "my own"}, {"prompt": ""}]
    key = {"Idempotency-Key": "order-12"}
    url, first = send(api, *items, **key)
    again_url, again = send(api, *items, {"prompt": PROMPT}, **key)
    assert (again_url, again[:3]) == (url, first)
    counts = api.get(url).json()["counts"]
    assert (counts["total"], counts["refused"]) == (3, 1)
    assert send(api, *items)[0] != url
    long = api.post("/v1/jobs/batch", content=jsonl(*items), headers={**JSONL, "Idempotency-Key": "k" * 241})
    assert (long.status_code, long.json()["error"]["field"]) == (422, "Idempotency-Key")


def test_results_are_the_jobs_by_line_with_links(api: TestClient, table: JobTable) -> None:
    url, answers = send(api, *({"prompt": PROMPT, "custom_id": f"c{n}"} for n in range(10)))
    claimed = claim_job(table, answers[3]["id"])
    table.finish(claimed, Status.SUCCEEDED, artifacts=[IMAGE])
    batch = api.get(url).json()
    assert batch["status"] == "in_progress"
    found = lines(api.get(batch["results_url"]).text)
    assert [(each["line"], each["custom_id"], each["job"]["id"]) for each in found] == [
        (n + 1, f"c{n}", answers[n]["id"]) for n in range(10)
    ]
    assert found[3]["job"]["images"][0]["url"].startswith("http")
    assert [each["job"]["status"] for each in found].count("queued") == 9


def test_canceled_batch_ends_and_takes_no_more(api: TestClient) -> None:
    key = {"Idempotency-Key": "order-12"}
    url, _ = send(api, {"prompt": PROMPT}, {"prompt": PROMPT}, **key)
    canceled = api.delete(url).json()
    assert (canceled["status"], canceled["counts"]["canceled"], canceled["counts"]["queued"]) == ("canceled", 2, 0)
    _, answers = send(api, {"prompt": PROMPT}, {"prompt": PROMPT}, {"prompt": PROMPT}, **key)
    assert [(each["error"] or {}).get("code") for each in answers] == [None, None, "batch_canceled"]


def test_batch_that_is_not_there(api: TestClient) -> None:
    for answer in (
        api.get("/v1/jobs/batches/none"),
        api.get("/v1/jobs/batches/a%20b/results"),
        api.delete("/v1/jobs/batches/none"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "batch_not_found")


def test_more_than_fits_ends_the_request_and_says_so(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.api.batches.intake.MAX_JOBS", 3)
    monkeypatch.setattr("producer.api.batches.intake._BULK_JOBS", 2)
    url, answers = send(api, *[{"prompt": PROMPT}] * 5)
    assert [each["id"] is not None for each in answers] == [True, True, True, False]
    assert "3 jobs at most" in answers[3]["error"]["message"]
    assert api.get(url).json()["counts"]["total"] == 3


def test_body_that_breaks_off_behind_queued_jobs_is_told_behind_their_answers(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.api.batches.intake._BULK_JOBS", 2)
    body = json.dumps([{"prompt": PROMPT}] * 3).removesuffix("]")
    answers = lines(api.post("/v1/jobs/batch", content=body, headers={"Content-Type": "application/json"}).text)
    assert [(each["error"] or {}).get("code") for each in answers] == [None, None, "malformed_body"]


def test_memory_that_runs_out_refuses_what_follows(
    api: TestClient, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.api.batches.intake._BULK_JOBS", 100)
    monkeypatch.setattr("jobs.redis.memory._LOOK_EVERY_S", 0)
    room_bytes = 1_000_000  # For about a third of them.
    redis_client.config_set("maxmemory", int((redis_client.info("memory")["used_memory"] + room_bytes) / 0.85))
    try:
        url, answers = send(api, *[{"prompt": PROMPT}] * 2_000)
    finally:
        redis_client.config_set("maxmemory", 0)
    codes = [(each["error"] or {}).get("code") for each in answers]
    queued = codes.count(None)
    assert 0 < queued < 2_000
    assert codes == [None] * queued + ["system_full"] * (2_000 - queued)
    assert api.get(url).json()["counts"]["total"] == queued


@pytest.fixture
def keys(settings: Settings, redis_client: redis.Redis) -> dict[str, dict[str, str]]:
    store = KeyStore(redis_client, settings)
    tokens = {"one": store.create("one", max_queued=2)[0], "two": store.create("two", models=["other"])[0]}
    return {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()}


def test_limits_of_a_key_hold_for_each_line(api: TestClient, keys: dict[str, dict[str, str]]) -> None:
    _, answers = send(api, *[{"prompt": PROMPT}] * 3, {"prompt": PROMPT, "caller": "two"}, **keys["one"])
    assert [(each["error"] or {}).get("code") for each in answers] == [
        *(None, None, "quota_exceeded", "invalid_request")
    ]
    _, answers = send(api, {"prompt": PROMPT}, **keys["two"])
    assert answers[0]["error"]["code"] == "model_not_allowed"
