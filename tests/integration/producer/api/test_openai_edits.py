"""OpenAI's route for edits without a worker: what it makes of a form or of JSON, and what it refuses."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx2 as httpx
import pytest
import redis
from fastapi.testclient import TestClient

from jobs import names
from jobs.fields import MAX_PROMPT_CHARS
from jobs.inputs.files import Files
from jobs.process.settings import Settings
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.table.table import JobTable
from jobs.view import view_of
from ops.process import wait_until
from producer.api.app import create_app
from producer.api.settings import ApiSettings
from producer.keys.store import KeyStore
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from storage.inputs import Inputs
from tests.integration.producer.api.conftest import DEADLINE_S, MakeKey, serving
from tests.integration.producer.api.pictures import png
from tests.integration.producer.api.test_jobs import IMAGE, PROMPT
from tests.integration.producer.api.test_openai import end, error_of, events_of, only_job
from tests.integration.producer.api.test_uploads import BODIES, REFUSED
from tests.integration.producer.api.uploading import MAX_BYTES, MIB, connected

PATH = "/v1/images/edits"
FIELDS = {"prompt": PROMPT}

Sent = Any  # What httpx takes as `files`.


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings(body_timeout_s=DEADLINE_S, max_upload_bytes=MAX_BYTES)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def send(api: httpx.Client, sent: Sent = None, key: dict[str, str] | None = None, **fields: str) -> httpx.Response:
    """A form, as OpenAI's clients send it."""
    return api.post(PATH, data={**FIELDS, **fields}, files=sent or {"image": png()}, headers=key)


def settled(record: JobRecord) -> Any:
    return view_of(record).spec


# What is made of it.


def test_form_becomes_an_edit_and_its_images_the_answer(
    api: TestClient,
    table: JobTable,
    redis_client: redis.Redis,
    store: S3Store,
    files: Files,
    pool: ThreadPoolExecutor,
) -> None:
    store.put("a/0.png", b"picture", "image/png")
    image, mask = png(2 * MIB, width=128, height=96), png(width=128, height=96)
    sent = [("image[]", ("größer.png", image)), ("mask", ("m.png", mask))]
    fields: dict[str, str] = {
        "model": "shapes",
        "n": "2",
        "size": "auto",
        "quality": "low",
        "output_format": "jpeg",
        "output_compression": "80",
        "user": "u-12",
        "background": "auto",
        "moderation": "low",
        "input_fidelity": "high",
        "stream": "False",
        "partial_images": "",
        "response_format": "",
        "strength": "0.5",
        "padding_mask_crop": "16",
        "negative_prompt": "7",
        "guidance_scale": "2",
        "seed": "7.0",
    }
    waiting = pool.submit(lambda: send(api, sent, None, **fields))
    record = only_job(table, redis_client)
    spec = settled(record)
    assert (spec.kind, spec.strength, spec.padding_mask_crop, spec.n, spec.seed) == ("edit", 0.5, 16, 2, 7)
    assert (spec.width, spec.height, spec.num_inference_steps, spec.guidance_scale) == (128, 96, 10, 2)
    assert (spec.output.format, spec.output.quality, spec.metadata) == ("jpeg", 80, {"user": "u-12"})
    assert spec.negative_prompt == "7"
    kept = files.get(spec.image.file, "default")
    assert (kept.filename, kept.purpose, kept.size_bytes) == ("größer.png", "input", 2 * MIB)
    assert [Inputs(store).read(each.file) for each in (spec.image, spec.mask)] == [image, mask]
    end(table, record, artifacts=[IMAGE, IMAGE])
    answer = waiting.result(DEADLINE_S)
    shown = answer.json()
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, record.id)
    assert [base64.b64decode(each["b64_json"]) for each in shown["data"]] == [b"picture"] * 2
    assert {frozenset(each) for each in shown["data"]} == {frozenset(("b64_json", "url", "seed"))}
    assert (shown["quality"], shown["safety_identifier"]) == ("low", "u-12")


def test_longest_prompts_fit_into_a_form_and_are_held_against_the_model(api: TestClient) -> None:
    long = "\N{LARGE RED CIRCLE}" * MAX_PROMPT_CHARS
    refused = error_of(send(api, model="shapes", prompt=long, negative_prompt=long))
    assert (refused["param"], refused["message"]) == ("prompt", "prompt: shapes takes at most 4000 characters")
    refused = error_of(send(api, prompt=f"{long}x"))
    assert refused["param"] == "prompt"
    many: dict[str, Any] = {f"field{number}": "x" * (4 * MAX_PROMPT_CHARS) for number in range(3)}
    refused = error_of(send(api, **many))
    assert "its fields may have at most" in refused["message"]


def test_size_of_the_result_and_the_ways_of_an_answer_are_those_of_generations(
    api: TestClient, table: JobTable, redis_client: redis.Redis, store: S3Store, pool: ThreadPoolExecutor
) -> None:
    store.put("a/0.png", b"picture", "image/png")
    waiting = pool.submit(lambda: send(api, size="64x96", response_format="url"))
    record = only_job(table, redis_client)
    assert (settled(record).width, settled(record).height, settled(record).strength) == (64, 96, 0.8)
    end(table, record, artifacts=[IMAGE])
    (image,) = waiting.result(DEADLINE_S).json()["data"]
    assert set(image) == {"url", "seed"}


def test_json_names_files_and_sends_pictures_inline(
    api: TestClient, table: JobTable, redis_client: redis.Redis, files: Files, pool: ThreadPoolExecutor
) -> None:
    sent = api.post("/v1/files", data={"purpose": "vision"}, files={"file": png()}).json()["id"]
    data_url = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    body = {**FIELDS, "images": [{"file_id": sent}], "mask": {"image_url": data_url}, "strength": 1, "n": None}
    waiting = pool.submit(lambda: api.post(PATH, json=body))
    record = only_job(table, redis_client)
    spec = settled(record)
    assert (spec.image.file, spec.strength) == (sent, 1.0)
    assert files.get(spec.mask.file, None).purpose == "input"
    table.cancel(record.id)
    assert error_of(waiting.result(DEADLINE_S))["code"] == "canceled"


def test_stream_has_an_event_for_each_image(
    api: TestClient, table: JobTable, redis_client: redis.Redis, store: S3Store, pool: ThreadPoolExecutor
) -> None:
    store.put("a/0.png", b"picture", "image/png")
    waiting = pool.submit(lambda: send(api, stream="true", n="2"))
    end(table, only_job(table, redis_client), artifacts=[IMAGE, IMAGE])
    events = events_of(waiting.result(DEADLINE_S))
    assert [kind for kind, _ in events] == [data["type"] for _, data in events] == ["image_edit.completed"] * 2
    assert [base64.b64decode(data["b64_json"]) for _, data in events] == [b"picture", b"picture"]


def test_same_key_and_picture_are_the_same_job(
    replica: str, table: JobTable, redis_client: redis.Redis, store: S3Store
) -> None:
    store.put("a/0.png", b"picture", "image/png")
    key, image = {"Idempotency-Key": "order-12"}, png()
    with httpx.Client(base_url=replica, trust_env=False, timeout=0.5) as hasty:
        with pytest.raises(httpx.ReadTimeout):
            send(hasty, {"image": image}, key)
        record = only_job(table, redis_client)
        assert wait_until(lambda: limits(replica)["connections"] == 1, DEADLINE_S)
        assert table.get(record.id).status is Status.QUEUED
        end(table, record, artifacts=[IMAGE])
    with httpx.Client(base_url=replica, trust_env=False, timeout=DEADLINE_S) as client:
        again = send(client, {"image": image}, key)
        other = send(client, {"image": png()}, key)
    assert (again.headers["x-request-id"], again.status_code) == (record.id, 200)
    assert (other.status_code, error_of(other)["code"]) == (409, "idempotency_conflict")


# What is refused. Nothing of it stays.

SHAPE = ("m.png", png(width=480, height=640))
WRONG: dict[str, tuple[Sent, dict[str, Any], str]] = {
    "no prompt": ({"image": png()}, {"prompt": ""}, "prompt"),
    "a long prompt": ({"image": png()}, {"model": "shapes", "prompt": "a" * 4_001}, "prompt"),
    "a very long prompt": ({"image": png()}, {"model": "shapes", "prompt": "a" * 20_000}, "prompt"),
    "two prompts": ({"image": png()}, {"prompt": ["a", "b"]}, "prompt"),
    "no image": ({"mask": png()}, {}, "image"),
    "several images": ([("image[]", png()), ("image[]", png()), ("image[]", b"")], {}, "image"),
    "two images": ([("image", png()), ("image", png())], {}, "image"),
    "two masks": ([("image", png()), ("mask", png()), ("mask", png())], {}, "mask"),
    "a mask of another shape": ([("image", png()), ("mask", SHAPE)], {}, "mask"),
    "an empty mask": ([("image", png()), ("mask", b"")], {}, "mask"),
    "a mask that is none": ([("image", png()), ("mask", b"white")], {}, "mask"),
    "a margin without a mask": ({"image": png()}, {"padding_mask_crop": "4"}, "padding_mask_crop"),
    "another file": ({"image": png(), "markup": png()}, {}, "markup"),
    "an unknown field": ({"image": png()}, {"complexity": "low"}, "complexity"),
    "a field within": ({"image": png()}, {"svg[model]": "a"}, "svg[model]"),
    "a list": ({"image": png()}, {"n[]": "1"}, "n[]"),
    "too many": ({"image": png()}, {"n": "65"}, "n"),
    "more than the model makes": ({"image": png()}, {"n": "17"}, "n"),
    "no number": ({"image": png()}, {"n": "two"}, "n"),
    "no whole number": ({"image": png()}, {"n": "1.5"}, "n"),
    "a list for a number": ({"image": png()}, {"n": "[1]"}, "n"),
    "a number in quotes": ({"image": png()}, {"n": '"1"'}, "n"),
    "no truth": ({"image": png()}, {"stream": "1"}, "stream"),
    "no strength": ({"image": png()}, {"strength": "0"}, "strength"),
    "strength that is no number": ({"image": png()}, {"strength": "nan"}, "strength"),
    "strength for no step": ({"image": png()}, {"model": "shapes", "strength": "0.01"}, "strength"),
    "a size that is none": ({"image": png()}, {"size": "big"}, "size"),
    "a size that is too large": ({"image": png()}, {"size": "9000x9000"}, "size"),
    "a background of a colour": ({"image": png()}, {"background": "blue"}, "background"),
    "a negative prompt without guidance": (
        {"image": png()},
        {"negative_prompt": "a star", "guidance_scale": "0"},
        "negative_prompt",
    ),
    "another wrong field": ({"image": png()}, {"on_unused": "warn", "n": "65"}, "n"),
    "a style": ({"image": png()}, {"style": "vivid"}, "style"),
    "links in a stream": ({"image": png()}, {"response_format": "url", "stream": "true"}, "response_format"),
    "compression of what has none": ({"image": png()}, {"output_compression": "50"}, "output_compression"),
    **{f"as the image, {name}": ({"image": content}, {}, "image") for name, (content, _) in REFUSED.items()},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_as_openai_calls_it_and_nothing_stays(
    api: TestClient, redis_client: redis.Redis, nothing_stays: Callable[[], bool], name: str
) -> None:
    sent, fields, param = WRONG[name]
    answer = send(api, sent, **fields)
    error = error_of(answer)
    assert (answer.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error"), answer.text
    assert error["message"].startswith(f"{param}: ")
    assert redis_client.keys("imagemill:job:*") == []
    assert nothing_stays()


def test_what_no_model_heeds_is_left_out_and_named_where_the_client_wants_it(
    api: TestClient, table: JobTable, redis_client: redis.Redis, store: S3Store, pool: ThreadPoolExecutor
) -> None:
    store.put("a/0.png", b"picture", "image/png")
    fields = {"negative_prompt": "a star", "guidance_scale": "0", "padding_mask_crop": "16", "input_fidelity": "high"}
    waiting = pool.submit(lambda: send(api, None, None, on_unused="warn", **fields))
    record = only_job(table, redis_client)
    spec = settled(record)
    assert (spec.negative_prompt, spec.guidance_scale, spec.padding_mask_crop) == ("", 0, None)
    end(table, record, artifacts=[IMAGE])
    assert waiting.result(DEADLINE_S).json()["warnings"] == [
        "input_fidelity: no model has it; strength says how much may change",
        "padding_mask_crop: there is no mask; it was left out",
        "negative_prompt: has no effect with guidance_scale 0; it was left out",
    ]


def test_several_images_are_counted(api: TestClient, nothing_stays: Callable[[], bool]) -> None:
    answer = send(api, [("image[]", png(MIB)) for _ in range(16)])
    sentence = "image: the model shapes-flow edits one picture at a time; 16 were sent"
    assert error_of(answer)["message"] == sentence
    assert (
        error_of(send(api, [("image[]", png()) for _ in range(17)]))["message"] == "image: is given more than 16 times"
    )
    assert nothing_stays()
    data_url = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    references = [{"image_url": data_url}] * 2
    in_json = api.post(PATH, json={**FIELDS, "images": references})
    assert error_of(in_json)["message"] == "images: the model shapes-flow edits one picture at a time; 2 were sent"
    assert nothing_stays()


IN_JSON: dict[str, tuple[dict[str, Any], str, str]] = {
    "no images": ({}, "images", "is missing"),
    "none": ({"images": []}, "images", "at least 1 item"),
    "no list": ({"images": "file-a"}, "images", "valid list"),
    "as a job has it": ({"image": "file-a", "images": [{"file_id": "a"}]}, "image", "unknown field"),
    "nothing named": ({"images": [{}]}, "images.0", "give file_id or image_url"),
    "two named": ({"images": [{"file_id": "a", "image_url": "b"}]}, "images.0", "give file_id or image_url"),
    "a file that is not there": ({"images": [{"file_id": "file-" + "a" * 24}]}, "images", "there is no file file-aaa"),
    "no id": ({"images": [{"file_id": "../a"}]}, "images", "should match"),
    "no data": ({"images": [{"image_url": "data:,a"}]}, "images", "this is no data URL"),
    "a host that nobody lists": (
        {"images": [{"image_url": "https://example.org/a.png"}]},
        "images",
        "not fetched here",
    ),
    "no https": ({"images": [{"image_url": "http://example.org/a.png"}]}, "images", "https URL"),
}


@pytest.mark.parametrize("name", IN_JSON)
def test_what_is_wrong_in_json_is_named(api: TestClient, nothing_stays: Callable[[], bool], name: str) -> None:
    body, param, says = IN_JSON[name]
    answer = api.post(PATH, json={**FIELDS, **body})
    error = error_of(answer)
    assert (answer.status_code, error["param"], error["message"].partition(":")[0]) == (400, param, param), answer.text
    assert says in error["message"]
    assert nothing_stays()


@pytest.mark.parametrize("name", [name for name in BODIES if name != "JSON"])
def test_body_that_is_no_form_is_refused(api: TestClient, nothing_stays: Callable[[], bool], name: str) -> None:
    content_type, body, expected = BODIES[name]
    body = body.replace(b'name="file"', b'name="image"')
    answer = api.post(PATH, content=body, headers={"Content-Type": content_type} if content_type else {})
    assert (answer.status_code, error_of(answer)["code"]) == expected, answer.text
    assert nothing_stays()


def test_type_of_a_body_is_one_of_two(api: TestClient) -> None:
    answer = api.post(PATH, content=b"prompt=star", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert error_of(answer)["message"] == "Content-Type: must be multipart/form-data or application/json"


@pytest.mark.parametrize(("field", "sizes"), [("image", (MAX_BYTES + 1, 70 * MIB)), ("mask", (MAX_BYTES + 1,))])
def test_picture_that_is_too_large_is_refused_by_its_field(
    api: TestClient, nothing_stays: Callable[[], bool], field: str, sizes: tuple[int, ...]
) -> None:
    for size in sizes:
        answer = send(api, {"image": png(), field: png(size)} if field == "mask" else {field: png(size)})
        known = (413, "file_too_large", field) if size < 2 * MAX_BYTES else (413, "body_too_large", None)
        assert (answer.status_code, error_of(answer)["code"], error_of(answer)["param"]) == known
    assert nothing_stays()


def test_limits_of_a_key_hold(api: TestClient, make_key: MakeKey, nothing_stays: Callable[[], bool]) -> None:
    small, other = make_key("small", max_file_mib=1), make_key("other", models=["sdxl"])
    full = send(api, {"image": png(MIB), "mask": png(MIB)}, small)
    assert (full.status_code, error_of(full)["code"]) == (409, "file_quota_exceeded")
    assert nothing_stays()
    forbidden = send(api, None, other, model="shapes-flow")
    assert (forbidden.status_code, error_of(forbidden)["type"]) == (403, "permission_error")
    unknown = send(api, None, small, model="gpt-image-2")
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "model_not_found")
    assert nothing_stays()


def test_page_of_another_origin_sends_nothing_through_a_browser(
    api: TestClient, nothing_stays: Callable[[], bool]
) -> None:
    answer = send(api, None, {"Origin": "https://evil.example"}, n="65")  # Which is refused, too, but later.
    assert (answer.status_code, error_of(answer)["code"]) == (403, "page_refused")
    assert nothing_stays()


# Who breaks off, is slow, or leaves.


def form_of(image: bytes, mask: bytes = b"") -> bytes:
    def part(name: str, content: bytes, filename: str = "") -> bytes:
        named = f'; filename="{filename}"' if filename else ""
        head = f'--b\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
        return head.encode() + content + b"\r\n"

    parts = [part("prompt", b"a star"), part("image", image, "a.png"), part("mask", mask, "m.png")]
    return b"".join(parts) + b"--b--\r\n"


def head_of(size: int, key: dict[str, str] | None = None) -> bytes:
    lines = [f"{name}: {value}" for name, value in (key or {}).items()]
    lines += ["Host: localhost", f"Content-Length: {size}", "Content-Type: multipart/form-data; boundary=b"]
    return ("\r\n".join([f"POST {PATH} HTTP/1.1", *lines]) + "\r\n\r\n").encode()


def limits(replica: str, key: dict[str, str] | None = None) -> dict[str, int]:
    shown: dict[str, int] = httpx.get(f"{replica}/v1/limits", headers=key, trust_env=False).json()["open"]
    return shown


def test_form_that_ends_anywhere_is_refused_and_nothing_stays(
    api: TestClient, redis_client: redis.Redis, nothing_stays: Callable[[], bool]
) -> None:
    body = form_of(png(150), png(150))
    head = {"Content-Type": "multipart/form-data; boundary=b"}
    for cut in range(0, len(body) - 2, 3):
        answer = api.post(PATH, content=body[:cut], headers=head)
        assert (answer.status_code, error_of(answer)["type"]) == (400, "invalid_request_error"), cut
    assert redis_client.keys("imagemill:job:*") == []
    assert nothing_stays()


@pytest.mark.parametrize("cut", [0, 100, 6 * MIB, 7 * MIB + 4, 13 * MIB])
def test_nothing_stays_of_a_form_that_is_cut(replica: str, nothing_stays: Callable[[], bool], cut: int) -> None:
    body = form_of(png(7 * MIB), png(7 * MIB))
    with closing(connected(replica)) as connection:
        connection.sendall(head_of(len(body)) + body[:cut])
        assert wait_until(lambda: limits(replica)["uploads"] == 1, DEADLINE_S)
    assert wait_until(lambda: limits(replica)["uploads"] == 0, DEADLINE_S)
    assert wait_until(nothing_stays, DEADLINE_S)


def test_form_that_is_too_slow_is_let_go(
    settings: Settings,
    storage_settings: S3Settings,
    nothing_stays: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("producer.api.http.bodies.SLOWEST_BYTES_PER_S", 100 * MIB)
    body = form_of(png(7 * MIB), png(7 * MIB))
    app = create_app(settings, storage_settings, ApiSettings(body_timeout_s=0.5))
    with serving(app) as (_, url), closing(connected(url)) as connection:
        connection.sendall(head_of(len(body)) + body[: 10 * MIB])
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_too_slow"' in answer
    assert nothing_stays()


@pytest.mark.parametrize("stream", ["false", "true"])
def test_client_that_leaves_has_its_job_canceled(
    replica: str, table: JobTable, redis_client: redis.Redis, stream: str
) -> None:
    with (
        httpx.Client(base_url=replica, trust_env=False, timeout=0.5) as hasty,
        pytest.raises(httpx.ReadTimeout),
    ):
        send(hasty, stream=stream)
    record = only_job(table, redis_client)
    assert wait_until(lambda: table.get(record.id).status is Status.CANCELED, DEADLINE_S)


def test_who_waits_for_an_edit_sends_no_file_any_more(
    replica: str, make_key: MakeKey, table: JobTable, redis_client: redis.Redis, pool: ThreadPoolExecutor
) -> None:
    one = make_key("one", max_uploads=1)
    with httpx.Client(base_url=replica, trust_env=False, timeout=DEADLINE_S) as client:
        waiting = [pool.submit(lambda: send(client, None, one))]
        only_job(table, redis_client)
        # Its job is there a moment before the request goes on to wait for it.
        waits = {"connections": 2, "batches": 0, "uploads": 0}
        assert wait_until(lambda: limits(replica, one) == waits, DEADLINE_S)
        body = form_of(png(), png())
        with closing(connected(replica)) as connection:
            connection.sendall(head_of(len(body), one) + body[:100])
            assert wait_until(lambda: limits(replica, one)["uploads"] == 1, DEADLINE_S)
            refused = send(client, None, one)
            assert (refused.status_code, error_of(refused)["code"]) == (429, "too_many_uploads")
        for record in table.list_jobs("one")[0]:
            table.cancel(record.id)
        assert [each.result(DEADLINE_S).status_code for each in waiting] == [409]


def test_key_that_is_revoked_ends_its_form(
    replica: str, make_key: MakeKey, redis_client: redis.Redis, settings: Settings, nothing_stays: Callable[[], bool]
) -> None:
    one, body = make_key("one"), form_of(png(7 * MIB), png(7 * MIB))
    with closing(connected(replica)) as connection:
        connection.sendall(head_of(len(body), one) + body[: 10 * MIB])
        assert wait_until(lambda: redis_client.zcard(names.FILES_BEGUN) == 2, DEADLINE_S)
        KeyStore(redis_client, settings).revoke("one")
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert wait_until(nothing_stays, DEADLINE_S)
