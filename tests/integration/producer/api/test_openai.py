"""The OpenAI route without a worker: what it makes of a request, and how it tells of errors."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import pytest
import redis
from fastapi.testclient import TestClient

from jobs.errors import ErrorCode
from jobs.process.settings import Settings
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.table.table import JobTable
from jobs.view import view_of
from ops.process import wait_until
from producer.keys.store import KeyStore
from storage.backends.s3.store import S3Store
from tests.claims import claim_job
from tests.integration.producer.api.conftest import DEADLINE_S, Replica
from tests.integration.producer.api.test_jobs import IMAGE, PROMPT

PATH = "/v1/images/generations"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def only_job(table: JobTable, redis_client: redis.Redis) -> JobRecord:
    """The one job that there is, as soon as it is there."""
    assert wait_until(lambda: bool(redis_client.keys("imagemill:job:*")), DEADLINE_S)
    (key,) = redis_client.keys("imagemill:job:*")
    return table.get(str(key).removeprefix("imagemill:job:"))


def end(table: JobTable, record: JobRecord, status: Status = Status.SUCCEEDED, **told: Any) -> None:
    """What a worker does."""
    claim = claim_job(table, record.id)
    table.finish(claim, status, **told)


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_request_becomes_a_job_and_its_images_the_answer(
    api: TestClient, table: JobTable, redis_client: redis.Redis, store: S3Store, pool: ThreadPoolExecutor
) -> None:
    store.put("a/0.png", b"picture", "image/png")
    body = {
        "prompt": PROMPT,
        "model": "shapes",
        "n": 2,
        "size": "128x96",
        "quality": "low",
        "output_format": "jpeg",
        "output_compression": 80,
        "user": "u-12",
        "background": "auto",
        "moderation": "low",
        "negative_prompt": "a star",
        "guidance_scale": 2,
        "scheduler": "euler",
        "seed": 7,
        "stream": None,
    }
    waiting = pool.submit(lambda: api.post(PATH, json=body))
    record = only_job(table, redis_client)
    spec = view_of(record).spec
    assert spec is not None
    assert (spec.width, spec.height, spec.n, spec.seed, spec.num_inference_steps) == (128, 96, 2, 7, 10)
    assert (spec.output.format, spec.output.quality, spec.metadata) == ("jpeg", 80, {"user": "u-12"})
    assert (spec.negative_prompt, spec.guidance_scale, spec.scheduler) == ("a star", 2, "euler")
    end(table, record, artifacts=[IMAGE, IMAGE])
    answer = waiting.result(DEADLINE_S)
    shown = answer.json()
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, record.id)
    assert [base64.b64decode(image["b64_json"]) for image in shown["data"]] == [b"picture", b"picture"]
    assert [httpx.get(image["url"], trust_env=False, timeout=DEADLINE_S).content for image in shown["data"]] == [
        b"picture",
        b"picture",
    ]
    assert (shown["size"], shown["output_format"], shown["quality"]) == ("128x128", "png", "low")
    assert (shown["background"], shown["safety_identifier"], shown["data"][0]["seed"]) == ("opaque", "u-12", 7)


NEUTRAL = {"moderation": "auto", "style": "vivid", "background": "opaque", "partial_images": 0, "quality": "standard"}
UNHEEDED: dict[str, Any] = {
    "model": "shapes",
    "background": "transparent",
    "partial_images": 2,
    "style": "natural",
    "negative_prompt": "a star",
    "guidance_scale": 1,
    "shift": 3,
    "on_unused": "warn",
}
NOTES = [
    "background: no model makes transparent pictures; it is opaque",
    "partial_images: none is sent",
    "style: no model has one; the prompt says it",
    "negative_prompt: has no effect with guidance_scale 1; it was left out",
    "shift: shapes has no schedule with a shift; it was left out",
]


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(("asked", "notes"), [(NEUTRAL, []), (UNHEEDED, NOTES)], ids=["neutral", "unheeded"])
def test_what_no_model_heeds_is_named_beside_what_the_job_warns_of(
    api: TestClient,
    table: JobTable,
    redis_client: redis.Redis,
    store: S3Store,
    pool: ThreadPoolExecutor,
    asked: dict[str, Any],
    notes: list[str],
    is_streamed: bool,
) -> None:
    store.put("a/0.png", b"picture", "image/png")
    waiting = pool.submit(lambda: api.post(PATH, json={"prompt": PROMPT, **asked, "stream": is_streamed}))
    record = only_job(table, redis_client)
    assert view_of(record).spec.negative_prompt == ""
    end(table, record, artifacts=[IMAGE], warnings=["prompt: cut to 77 tokens"])
    answer = waiting.result(DEADLINE_S)
    shown = events_of(answer)[0][1] if is_streamed else answer.json()
    assert shown["warnings"] == [*notes, "prompt: cut to 77 tokens"]


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        ({}, 8),
        ({"quality": "auto"}, 8),
        ({"quality": "standard"}, 8),
        ({"quality": "low"}, 4),
        ({"quality": "hd"}, 16),
        ({"quality": "high"}, 16),
        ({"quality": "xhigh"}, 24),
        ({"quality": "max"}, 32),
        ({"quality": "max", "num_inference_steps": 3}, 3),
    ],
)
def test_quality_sets_the_steps(
    api: TestClient,
    table: JobTable,
    redis_client: redis.Redis,
    pool: ThreadPoolExecutor,
    asked: dict[str, Any],
    steps: int,
) -> None:
    waiting = pool.submit(lambda: api.post(PATH, json={"prompt": PROMPT, **asked}))
    record = only_job(table, redis_client)
    table.cancel(record.id)
    waiting.result(DEADLINE_S)
    assert view_of(record).spec.num_inference_steps == steps


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": "a" * 1_000_000}, "prompt"),
        ({"prompt": PROMPT, "n": 0}, "n"),
        ({"prompt": PROMPT, "n": 17}, "n"),
        ({"prompt": PROMPT, "size": "big"}, "size"),
        ({"prompt": PROMPT, "size": "128×128"}, "size"),
        ({"prompt": PROMPT, "size": "1024x1024"}, "size"),
        ({"prompt": PROMPT, "size": "128x99999"}, "size"),
        ({"prompt": PROMPT, "quality": "best"}, "quality"),
        ({"prompt": PROMPT, "response_format": "gif"}, "response_format"),
        ({"prompt": PROMPT, "response_format": "url", "stream": True}, "response_format"),
        ({"prompt": PROMPT, "output_format": "svg"}, "output_format"),
        ({"prompt": PROMPT, "output_compression": 50}, "output_compression"),
        ({"prompt": PROMPT, "output_compression": 101, "output_format": "jpeg"}, "output_compression"),
        ({"prompt": PROMPT, "background": "blue"}, "background"),
        ({"prompt": PROMPT, "negative_prompt": "a star", "guidance_scale": 0}, "negative_prompt"),
        ({**UNHEEDED, "prompt": PROMPT, "on_unused": "refuse"}, "negative_prompt"),
        ({"prompt": PROMPT, "on_unused": "drop"}, "on_unused"),
        ({"prompt": PROMPT, "on_unused": "warn", "scheduler": "dreamy"}, "scheduler"),
        ({"prompt": PROMPT, "on_unused": "warn", "loras": ["a"]}, "loras"),
        ({"model": "shapes", "prompt": PROMPT, "shift": 3}, "shift"),
        ({"prompt": PROMPT, "user": "u" * 513}, "user"),
        ({"prompt": PROMPT, "seed": -1}, "seed"),
        ({"prompt": PROMPT, "caller": "another"}, "caller"),
        ({"prompt": PROMPT, "frame_count": 4}, "frame_count"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_wrong_field_is_named_and_nothing_is_queued(
    api: TestClient, redis_client: redis.Redis, body: dict[str, Any], param: str, stream: bool
) -> None:
    answer = api.post(PATH, json={"stream": stream, **body})
    error = error_of(answer)
    assert (answer.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert error["message"].startswith(f"{param}: ")
    assert redis_client.keys("imagemill:job:*") == []


def test_version_of_the_api_that_clients_for_azure_send_is_taken(api: TestClient) -> None:
    answer = api.post(PATH, params={"api-version": "2024-02-01"}, json={"prompt": " "})
    assert (answer.status_code, error_of(answer)["param"]) == (400, "prompt")


def test_unknown_model_is_not_found(api: TestClient) -> None:
    for name in ("dall-e-3", "gpt-image-1", "black-forest-labs/FLUX.1-schnell", "", "a" * 255):
        answer = api.post(PATH, json={"prompt": PROMPT, "model": name})
        error = error_of(answer)
        assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert "the models are shapes-flow" in error["message"]


@pytest.mark.parametrize(
    ("asked", "names"), [("url", {"url"}), ("b64_json", {"b64_json"}), (None, {"url", "b64_json"})]
)
def test_image_has_what_was_asked_for_and_both_where_nothing_was(
    api: TestClient,
    table: JobTable,
    redis_client: redis.Redis,
    store: S3Store,
    pool: ThreadPoolExecutor,
    asked: str | None,
    names: set[str],
) -> None:
    store.put("a/0.png", b"picture", "image/png")
    waiting = pool.submit(lambda: api.post(PATH, json={"prompt": PROMPT, "response_format": asked}))
    end(table, only_job(table, redis_client), artifacts=[IMAGE])
    (image,) = waiting.result(DEADLINE_S).json()["data"]
    assert set(image) == {*names, "seed"}


def test_model_is_shown_as_the_list_has_it(api: TestClient) -> None:
    listed = api.get("/v1/models").json()["data"]
    for model in listed:
        assert api.get(f"/v1/models/{model['id']}").json() == model
        assert {"id", "object", "created", "owned_by"} <= set(model)
    assert api.get("/v1/models/").json()["data"] == listed


def test_model_that_is_not_there_or_not_for_this_key_is_not_found(
    api: TestClient, redis_client: redis.Redis, settings: Settings
) -> None:
    token, _ = KeyStore(redis_client, settings).create("other", models=["sdxl"])
    for name in ("shapes-flow", "black-forest-labs/FLUX.1-schnell", "black-forest-labs%2FFLUX.1-schnell", "a" * 5_000):
        answer = api.get(f"/v1/models/{name}", headers={"Authorization": f"Bearer {token}"})
        error = error_of(answer)
        assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert len(error["message"]) < 400
    assert error_of(api.get("/v1/models/shapes"))["code"] == "invalid_api_key"


def test_wrong_body_method_and_type_are_told_in_openais_form(api: TestClient) -> None:
    answers = [
        api.post(PATH, content=b"{", headers={"Content-Type": "application/json"}),
        api.post(PATH, content=b"[" * 10_000, headers={"Content-Type": "application/json"}),
        api.post(PATH, content=b"prompt=star"),
        api.post(PATH, json={"prompt": "a" * (3 << 20)}),
        api.get(PATH),
        api.post(PATH, json={"prompt": PROMPT}, headers={"Idempotency-Key": "k" * 300}),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 415, 413, 405, 400]
    for answer in answers:
        assert error_of(answer)["type"] == "invalid_request_error"


def test_keys_models_rates_and_quotas_hold_here_too(
    api: TestClient, redis_client: redis.Redis, settings: Settings, pool: ThreadPoolExecutor, table: JobTable
) -> None:
    keys = KeyStore(redis_client, settings)
    tokens = {
        "rated": keys.create("rated", rate="1/hour")[0],
        "full": keys.create("full", max_queued=1)[0],
        "other": keys.create("other", models=["sdxl"])[0],
    }

    def ask(name: str) -> httpx.Response:
        return api.post(PATH, json={"prompt": PROMPT, "size": "1x1"}, headers=bearer(name))

    def bearer(name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {tokens.get(name, name)}"}

    unknown = ask("im_" + "0" * 64)
    assert (unknown.status_code, error_of(unknown)["code"]) == (401, "invalid_api_key")
    assert (error_of(unknown)["type"], unknown.headers["www-authenticate"][:6]) == ("authentication_error", "Bearer")
    assert ask("rated").status_code == 400
    over = ask("rated")
    assert (over.status_code, error_of(over)["type"]) == (429, "rate_limit_error")
    assert int(over.headers["retry-after"]) > 0
    forbidden = api.post(PATH, json={"prompt": PROMPT}, headers=bearer("other"))
    assert (forbidden.status_code, error_of(forbidden)["type"]) == (403, "permission_error")
    waiting = pool.submit(lambda: api.post(PATH, json={"prompt": PROMPT}, headers=bearer("full")))
    record = only_job(table, redis_client)
    full = api.post(PATH, json={"prompt": PROMPT}, headers=bearer("full"))
    assert (full.status_code, error_of(full)["code"], record.caller) == (429, "quota_exceeded", "full")
    table.cancel(record.id)
    waiting.result(DEADLINE_S)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCode.GENERATION_ERROR, 500),
        (ErrorCode.WORKER_LOST, 500),
        (ErrorCode.STORAGE_UNAVAILABLE, 503),
        (ErrorCode.DEADLINE_EXCEEDED, 504),
    ],
)
def test_job_that_fails_is_told_with_its_reason_and_not_tried_again(
    api: TestClient,
    table: JobTable,
    redis_client: redis.Redis,
    pool: ThreadPoolExecutor,
    code: ErrorCode,
    status: int,
) -> None:
    waiting = pool.submit(lambda: api.post(PATH, json={"prompt": PROMPT}))
    record = only_job(table, redis_client)
    end(table, record, Status.FAILED, error={"code": code, "message": "it was not to be"})
    answer = waiting.result(DEADLINE_S)
    assert (answer.status_code, answer.headers["x-request-id"]) == (status, record.id)
    assert error_of(answer) == {"message": "it was not to be", "type": "server_error", "param": None, "code": code}
    assert answer.headers["x-should-retry"] == "false"


def test_canceled_job_is_told_as_a_conflict(
    api: TestClient, table: JobTable, redis_client: redis.Redis, pool: ThreadPoolExecutor
) -> None:
    waiting = pool.submit(lambda: api.post(PATH, json={"prompt": PROMPT}))
    table.cancel(only_job(table, redis_client).id)
    answer = waiting.result(DEADLINE_S)
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["message"]) == (409, "canceled", "the job was canceled")


def test_bug_is_told_in_openais_form(
    api: TestClient, table: JobTable, redis_client: redis.Redis, pool: ThreadPoolExecutor
) -> None:
    waiting = pool.submit(lambda: api.post(PATH, json={"prompt": PROMPT}))
    record = only_job(table, redis_client)
    claimed = claim_job(table, record.id)
    table.finish(claimed, Status.SUCCEEDED, artifacts=[])  # No worker of ours does that.
    answer = waiting.result(DEADLINE_S)
    assert (answer.status_code, error_of(answer)["code"]) == (500, "internal_error")


def test_record_that_cannot_be_read_is_told_in_openais_form(
    api: TestClient, table: JobTable, redis_client: redis.Redis, pool: ThreadPoolExecutor
) -> None:
    waiting = pool.submit(lambda: api.post(PATH, json={"prompt": PROMPT}))
    record = only_job(table, redis_client)
    redis_client.hset(f"imagemill:job:{record.id}", "timings", "no JSON")
    table.cancel(record.id)
    answer = waiting.result(DEADLINE_S)
    assert (answer.status_code, error_of(answer)["code"]) == (500, "record_unreadable")


def stream(api: TestClient, **headers: str) -> httpx.Response:
    return api.post(PATH, json={"prompt": PROMPT, "stream": True, "n": 2}, headers=headers)


def events_of(answer: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [event.splitlines() for event in answer.text.strip().split("\n\n")]
    return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in events]


def test_stream_has_an_event_for_each_image(
    api: TestClient, table: JobTable, redis_client: redis.Redis, store: S3Store, pool: ThreadPoolExecutor
) -> None:
    store.put("a/0.png", b"picture", "image/png")
    waiting = pool.submit(lambda: stream(api))
    record = only_job(table, redis_client)
    end(table, record, artifacts=[IMAGE, IMAGE])
    answer = waiting.result(DEADLINE_S)
    events = events_of(answer)
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, record.id)
    assert [kind for kind, _ in events] == [data["type"] for _, data in events] == ["image_generation.completed"] * 2
    assert [base64.b64decode(data["b64_json"]) for _, data in events] == [b"picture", b"picture"]


def test_stream_of_a_job_that_fails_ends_with_the_error(
    api: TestClient, table: JobTable, redis_client: redis.Redis, pool: ThreadPoolExecutor
) -> None:
    waiting = pool.submit(lambda: stream(api))
    told = {"code": "out_of_memory", "message": "it was too large"}
    end(table, only_job(table, redis_client), Status.FAILED, error=told)
    ((kind, data),) = events_of(waiting.result(DEADLINE_S))
    assert (kind, data["error"]) == ("error", {**told, "type": "server_error", "param": None})


def test_stream_of_images_that_are_gone_ends_with_the_error(
    api: TestClient, table: JobTable, redis_client: redis.Redis, pool: ThreadPoolExecutor
) -> None:
    waiting = pool.submit(lambda: stream(api))
    end(table, only_job(table, redis_client), artifacts=[IMAGE | {"key": "gone.png"}])
    ((kind, data),) = events_of(waiting.result(DEADLINE_S))
    assert (kind, data["error"]["code"]) == ("error", "image_not_found")


def leave(url: str, headers: dict[str, str] | None = None, **fields: Any) -> None:
    """Ask, and go away without an answer."""
    with httpx.Client(base_url=url, trust_env=False, timeout=0.3) as client, pytest.raises(httpx.ReadTimeout):
        client.post(PATH, json={"prompt": PROMPT, **fields}, headers=headers)


@pytest.mark.parametrize("stream", [False, True])
def test_client_that_leaves_has_its_job_canceled(
    replica: str, table: JobTable, redis_client: redis.Redis, stream: bool
) -> None:
    leave(replica, stream=stream)
    record = only_job(table, redis_client)
    assert wait_until(lambda: table.get(record.id).status is Status.CANCELED, DEADLINE_S)


@pytest.mark.parametrize("stream", [False, True])
def test_job_with_an_idempotency_key_goes_on_and_is_given_to_who_asks_again(
    replica: str, table: JobTable, redis_client: redis.Redis, store: S3Store, stream: bool
) -> None:
    store.put("a/0.png", b"picture", "image/png")
    headers = {"Idempotency-Key": "order-12"}
    leave(replica, headers, stream=stream)
    record = only_job(table, redis_client)
    leave(replica, stream=stream)
    (other,) = set(redis_client.keys("imagemill:job:*")) - {f"imagemill:job:{record.id}"}
    assert wait_until(lambda: redis_client.hget(other, "status") == "canceled", DEADLINE_S)
    assert table.get(record.id).status is Status.QUEUED
    end(table, record, artifacts=[IMAGE])
    answer = httpx.post(
        f"{replica}{PATH}", json={"prompt": PROMPT}, headers=headers, trust_env=False, timeout=DEADLINE_S
    )
    assert base64.b64decode(answer.json()["data"][0]["b64_json"]) == b"picture"


@pytest.mark.parametrize("stream", [False, True])
def test_process_that_stops_says_so_and_leaves_no_job_behind(
    replicas: list[Replica], table: JobTable, redis_client: redis.Redis, pool: ThreadPoolExecutor, stream: bool
) -> None:
    (server, url), _ = replicas
    body = {"prompt": PROMPT, "stream": stream}
    waiting = pool.submit(lambda: httpx.post(f"{url}{PATH}", json=body, timeout=DEADLINE_S, trust_env=False))
    record = only_job(table, redis_client)
    server.should_exit = True
    answer = waiting.result(DEADLINE_S)
    error = events_of(answer)[0][1]["error"] if stream else error_of(answer)
    assert (answer.status_code, error["code"]) == (200 if stream else 503, "stopping")
    assert wait_until(lambda: table.get(record.id).status is Status.CANCELED, DEADLINE_S)
