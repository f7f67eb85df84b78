"""Both kinds come through every door, and what they make goes out of it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from jobs.errors import IdempotencyConflict, InvalidRequest
from jobs.process.settings import Settings
from producer import AsyncClient, Client
from storage.backends.s3.settings import S3Settings
from tests.blackbox.system import PATIENCE_S, System
from tests.kinds.asking import AFTER, COUNT, GENERATE, INPUT, SKETCH, post

WAIT_S = 2 * PATIENCE_S
OUTLINE = {"prompt": "a house", "after": hashlib.sha256(INPUT).hexdigest()}


def check_sketch(job: dict[str, Any]) -> None:
    assert job["status"] == "succeeded", job.get("error")
    assert (job["kind"], job["queue"], job["model"], job["progress"]) == ("sketch", "gpu.sim", "sim", 1.0)
    assert job["data"] == {"after_bytes": len(INPUT)}
    (image,), (outline,) = job["images"], job["artifacts"]
    assert (image["content_type"], image["width"], image["seed"]) == ("image/png", 64, job["parameters"]["seed"])
    assert (outline["name"], outline["content_type"], outline["points"]) == ("outline", "application/json", 4)


def check_count(job: dict[str, Any], words: int = 3) -> None:
    assert job["status"] == "succeeded", job.get("error")
    assert (job["kind"], job["queue"], job.get("model"), job["progress"]) == ("count", "any.count", None, 1.0)
    assert (job["data"], job["images"], job["artifacts"]) == ({"words": words}, [], [])


def test_http_takes_both_and_shows_what_they_made(system: System) -> None:
    sketch, count = post(system, SKETCH), post(system, COUNT)
    check_sketch(system.end_of(sketch))
    check_count(system.end_of(count))
    names = {path.name for path in system.objects(sketch)}
    assert names == {"0.png", "1.json", "job.json"}
    (manifest,) = system.objects(count)
    assert json.loads(manifest.read_text())["data"] == {"words": 3}


def test_http_waits_for_both_and_tells_without_queueing_what_it_would_queue(system: System) -> None:
    waited = system.http("POST", "/v1/jobs", COUNT, headers={"Prefer": "wait=60"})
    assert waited.status == 200, waited.body
    check_count(waited.body)
    tried = system.http("POST", "/v1/jobs?dry_run=true", SKETCH)
    shown = {name: tried.body[name] for name in ("object", "kind", "model", "queue")}
    assert shown == {"object": "dry_run", "kind": "sketch", "model": "sim", "queue": "gpu.sim"}
    assert tried.body["parameters"]["draw_steps"] == 20


def test_one_batch_takes_lines_of_all_kinds_and_refuses_each_wrong_one_by_its_field(system: System) -> None:
    lines = [GENERATE, COUNT, SKETCH, {"kind": "dream"}, {**COUNT, "prompt": "a"}, {"kind": "sketch", "prompt": "a"}]
    answer = system.http("POST", "/v1/jobs/batch", [{**line, "custom_id": f"c{at}"} for at, line in enumerate(lines)])
    assert answer.status == 200, answer.body
    assert [each["error"] and each["error"]["field"] for each in answer.body] == [
        *[None] * 3,
        "kind",
        "prompt",
        "image",
    ]
    generate, count, sketch = (system.end_of(each["id"]) for each in answer.body[:3])
    assert generate["kind"] == "generate"
    check_count(count)
    check_sketch(sketch)
    results = system.http("GET", f"{answer.headers['location']}/results").body
    assert [(each["custom_id"], each["job"]["kind"]) for each in results] == [
        ("c0", "generate"),
        ("c1", "count"),
        ("c2", "sketch"),
    ]


def test_python_takes_both_and_the_prompt_stays_where_it_was(client: Client) -> None:
    sketch = client.submit("a house", kind="sketch", image=AFTER, seed=7)
    count = client.submit(kind="count", text="one two three")
    check_count(count.wait(WAIT_S).model_dump(mode="json"))
    check_sketch(sketch.wait(WAIT_S).model_dump(mode="json"))
    (image,), (outline,) = sketch.images(), sketch.artifacts()
    assert image.open().size == (64, 64)
    assert json.loads(outline.read()) == OUTLINE
    assert (count.images(), count.artifacts()) == ([], [])
    many = client.submit_many([GENERATE, COUNT, SKETCH])
    assert [job.wait(WAIT_S).kind for job in many] == ["generate", "count", "sketch"]


async def _through_coroutines(settings: Settings, storage: S3Settings) -> list[dict[str, Any]]:
    async with AsyncClient(settings, storage) as client:
        jobs = [await client.submit(kind="count", text="one two three"), await client.submit(**SKETCH)]
        return [(await job.wait(WAIT_S)).model_dump(mode="json") for job in jobs]


def test_coroutines_take_both(settings: Settings, storage: S3Settings) -> None:
    import asyncio

    count, sketch = asyncio.run(_through_coroutines(settings, storage))
    check_count(count)
    check_sketch(sketch)


def test_command_line_has_the_options_of_both_and_saves_and_shows_what_they_made(system: System) -> None:
    counted = system.cli("submit", "--kind", "count", "--text", "one two three", "--wait", "--json")
    assert counted.returncode == 0, counted.stdout + counted.stderr
    check_count({"images": [], "artifacts": [], **json.loads(counted.stdout)})
    options = ("--kind", "sketch", "--image", json.dumps(AFTER), "--draw-steps", "7", "--out", "house.jpg")
    drawn = system.cli("submit", "a house", *options)
    assert drawn.returncode == 0, drawn.stdout + drawn.stderr
    assert (system.folder / "house.jpg").read_bytes().startswith(b"\x89PNG")
    assert json.loads((system.folder / "house-outline.json").read_text()) == OUTLINE
    assert f'{{"after_bytes": {len(INPUT)}}}' in drawn.stdout


def test_a_file_of_all_kinds_is_seen_through_and_given_again_submits_nothing_twice(system: System) -> None:
    file = system.folder / "jobs.jsonl"
    lines = [GENERATE, COUNT, {**SKETCH, "custom_id": "house"}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    first, again = (system.cli("submit", "--file", str(file), "--out", "made", "--json") for _ in range(2))
    assert (first.returncode, again.returncode) == (0, 0), first.stdout + first.stderr + again.stdout + again.stderr
    ended = {each["kind"]: each for each in map(json.loads, first.stdout.splitlines())}
    assert {each["id"] for each in ended.values()} == {json.loads(line)["id"] for line in again.stdout.splitlines()}
    assert ended["count"]["data"] == {"words": 3}
    assert ended["sketch"]["artifacts"][0]["url"].startswith("http")
    made = {path.name for path in (system.folder / "made").iterdir()}
    assert made == {"1.png", "3-house.png", "3-house-outline.json"}


@pytest.mark.parametrize("queue", ["gpu.sim", "any.count"])
def test_plain_celery_sends_a_kind_without_a_model_through_any_queue(system: System, queue: str) -> None:
    sent = system.celery().send_task("imagemill.generate", kwargs=COUNT, queue=queue)
    check_count({"images": [], "artifacts": [], "model": None, **sent.get(timeout=WAIT_S)})


def test_plain_celery_sends_a_kind_with_an_input_and_learns_of_what_is_wrong(system: System) -> None:
    app = system.celery()
    right = app.send_task("imagemill.generate", kwargs=SKETCH, queue="gpu.sim")
    wrong = {"kind": {"kind": "dream"}, "text": {**COUNT, "text": ""}, "image": {"kind": "sketch", "prompt": "a"}}
    refused = {
        field: app.send_task("imagemill.generate", kwargs=each, queue="gpu.sim") for field, each in wrong.items()
    }
    check_sketch(right.get(timeout=WAIT_S))
    for field, each in refused.items():
        with pytest.raises(Exception, match=f"{field}: "):
            each.get(timeout=WAIT_S)


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"kind": "dream"}, "kind", "there is no kind 'dream'; the kinds are generate, edit, sketch, count"),
        ({"kind": 7}, "kind", "should be a valid string"),
        ({"kind": "count"}, "text", "is missing"),
        ({**COUNT, "word_s": -1}, "word_s", "greater than or equal to 0"),
        ({**COUNT, "model": "sim"}, "model", "unknown field"),
        ({**COUNT, "image": AFTER}, "image", "unknown field"),
        ({"kind": "sketch", "prompt": "a"}, "image", "is missing"),
        ({**SKETCH, "draw_steps": "many"}, "draw_steps", "should be a valid integer"),
        ({**SKETCH, "draw_steps": 0}, "draw_steps", "greater than or equal to 1"),
        ({**SKETCH, "model": "none"}, "model", "none"),
        ({**SKETCH, "n": 2}, "n", "unknown field"),
        ({**GENERATE, "image": AFTER}, "image", "unknown field"),
    ],
)
def test_what_is_wrong_is_refused_by_the_name_of_its_field(
    system: System, client: Client, body: dict[str, Any], field: str, words: str
) -> None:
    answer = system.http("POST", "/v1/jobs", body)
    assert (answer.status, answer.body["error"]["field"]) == (422, field), answer.body
    assert words in answer.body["error"]["message"]
    with pytest.raises(InvalidRequest) as refused:
        client.submit(**body)
    assert refused.value.field == field


def test_command_line_refuses_an_unknown_kind_and_fields_of_another(system: System) -> None:
    for args, field in ((("--kind", "dream"), "kind"), (("--kind", "count", "--text", "a", "--steps", "3"), "num_")):
        done = system.cli("submit", *args)
        assert done.returncode == 2
        assert done.stderr.startswith(f"imagemill: {field}"), done.stderr


def test_an_idempotency_key_belongs_to_one_kind(system: System, client: Client) -> None:
    one, two = (post(system, {**COUNT, "idempotency_key": "k"}) for _ in range(2))
    assert one == two
    answer = system.http("POST", "/v1/jobs", {**SKETCH, "idempotency_key": "k"})
    assert (answer.status, answer.body["error"]["code"]) == (409, "idempotency_conflict")
    with pytest.raises(IdempotencyConflict):
        client.submit("a house", idempotency_key="k")


def test_the_document_describes_both(system: System) -> None:
    document = system.http("GET", "/openapi.json").body
    schemas = document["components"]["schemas"]
    for path, prefix in (("/v1/jobs", ""), ("/v1/jobs/batch", "Batch")):
        schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        bodies = {each["$ref"].rpartition("/")[2] for each in (schema.get("items") or schema)["oneOf"]}
        assert bodies == {f"{prefix}{kind}Request" for kind in ("Generate", "Edit", "Sketch", "Count")}
        assert bodies <= set(schemas)
    assert schemas["CountRequest"]["properties"]["kind"]["const"] == "count"
    assert set(schemas["CountRequest"]["required"]) == {"kind", "text"}
    assert schemas["SketchRequest"]["properties"]["image"]["description"] == "What to draw after."
    stream = document["paths"]["/v1/jobs/{job_id}/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    assert "data" in stream["itemSchema"]["properties"]["event"]["enum"]
