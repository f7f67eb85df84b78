"""1.0 is the integer 1 wherever our own document says integer (JSON Schema, validation 6.1.1), through every door."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from fastapi.testclient import TestClient

from jobs import names
from jobs.envelope import Change
from jobs.errors import InvalidRequest
from jobs.fields import Strict, parse
from jobs.process.settings import Settings
from producer import Client
from producer.api.app import create_app
from producer.api.batches.schemas import ITEMS
from producer.api.jobs.schemas import BODIES
from producer.api.openai.edit_request import EditsBody, EditsRequest
from producer.api.openai.request import ImagesRequest
from producer.cli.submission.prompt_file import read_prompts
from storage.backends.s3.settings import S3Settings

WRITTEN: dict[str, Any] = {"prompt": "a red circle", "width": 128.0, "n": 2.0, "seed": 7.0, "guidance_scale": 3.0}
WRITTEN |= {"output": {"format": "webp", "quality": 90.0, "crop": {"width": 64.0, "height": 64.0}}}
SIDES = {"width": 64, "height": 64}
STORED = {"width": 128, "n": 2, "seed": 7, "guidance_scale": 3.0, "num_inference_steps": 8}


def integers(schema: dict[str, Any], within: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all integers that a schema has."""
    schema = within[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if schema.get("type") == "integer":
        yield path
    for other in schema.get("anyOf", ()):
        yield from integers(other, within, path)
    for name, each in schema.get("properties", {}).items():
        yield from integers(each, within, (*path, name))


@pytest.mark.parametrize(
    "kind", [*BODIES, *ITEMS, ImagesRequest, EditsRequest, EditsBody, Change], ids=lambda kind: kind.__name__
)
def test_every_integer_of_the_document_takes_a_whole_number_and_no_other(kind: type[Strict]) -> None:
    schema = kind.model_json_schema()
    paths = list(integers(schema, schema.get("$defs", {})))
    assert paths or kind is Change
    for path in paths:
        assert "integer" not in refusal_of(kind, path, 64.0)
        for wrong in (64.5, "64", "64.0", True, float("inf"), float("nan"), 1e300, 2.0**53 + 2):
            assert refusal_of(kind, path, wrong).startswith(".".join(path)), (path, wrong)


def refusal_of(kind: type[Strict], path: tuple[str, ...], value: Any) -> str:
    for depth, name in reversed(list(enumerate(path))):
        value = {**(SIDES if depth and name in SIDES else {}), name: value}
    image = {"image": "file-" + "a" * 24} if "image" in kind.model_fields else {}
    try:
        parse(kind, {"prompt": "a red circle", **image, **value})
    except InvalidRequest as exc:
        return str(exc)
    return ""


@pytest.fixture
def api(settings: Settings, storage_settings: S3Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings, storage_settings), base_url="http://127.0.0.1") as api:
        yield api


def test_it_is_stored_as_an_integer_whoever_sends_it(
    api: TestClient, client: Client, redis_client: redis.Redis, tmp_path: Path
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps(WRITTEN))
    doors: dict[str, Callable[[], str]] = {
        "HTTP": lambda: api.post("/v1/jobs", json=WRITTEN).json()["id"],
        "a batch": lambda: api.post("/v1/jobs/batch", json=[WRITTEN]).json()["id"],
        "Python": lambda: client.submit(**WRITTEN).id,
        "a file": lambda: client.parts.submitter.enter(
            read_prompts(client.parts.submitter, file, {})[0].submission,
        ),
    }
    for door, submit in doors.items():
        payload = json.loads(cast("str", redis_client.hget(names.job_key(submit()), "spec")))
        assert {name: payload[name] for name in STORED} == STORED, door
        assert "128.0" not in json.dumps(payload), door


def test_same_job_has_the_same_idempotency_digest_however_it_is_written(api: TestClient) -> None:
    whole = json.loads(json.dumps(WRITTEN).replace(".0", ""))
    key = {"Idempotency-Key": "order-12"}
    first, again = (api.post("/v1/jobs", json=each, headers=key).json()["id"] for each in (WRITTEN, whole))
    assert first == again


def test_what_is_no_whole_number_is_refused_by_name_over_http(api: TestClient) -> None:
    answers = [
        api.post("/v1/jobs", json={**WRITTEN, "n": 1.5}),
        api.post("/v1/images/generations", json={"prompt": "a red circle", "n": 1.5}),
        api.post("/v1/jobs/batch", json=[{**WRITTEN, "n": 1.5}]),
    ]
    found = [each.json()["error"] for each in answers]
    assert [each.get("field", each.get("param")) for each in found] == ["n", "n", "n"]
    huge = api.post("/v1/jobs", content=b'{"prompt": "x", "n": 1e400}', headers={"Content-Type": "application/json"})
    assert (huge.status_code, "infinity" in huge.json()["error"]["message"]) == (400, True)
