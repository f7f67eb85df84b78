"""A job's record, as it is read from the hash that the scripts write."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs import names
from jobs.errors import InvalidRequest, RecordUnreadable
from jobs.kinds.spec import JobSpec
from jobs.table.record import ImageRecord, JobError, JobRecord, progress_of, spec_to_run
from jobs.table.states import Stage, Status

WAITING = {
    "status": "queued",
    "queue": "gpu.shapes",
    "caller": "default",
    "created_at": "1795489800.172009",
    "spec": '{"prompt":"a red circle","model":"shapes","width":128,"height":128,"num_inference_steps":20,'
    '"guidance_scale":3.0,"scheduler":"ddim","seed":1}',
}
IMAGE = {
    "key": "2026/11/24/a/1-t/0.png",
    "content_type": "image/png",
    "width": 128,
    "height": 128,
    "bytes": 9,
    "sha256": "00",
    "seed": 1,
}


def test_waiting_job_has_a_specification_and_nothing_else_yet() -> None:
    record = JobRecord.from_hash("a-job", WAITING)
    assert record.status is Status.QUEUED
    assert record.spec is not None
    assert record.spec.prompt == "a red circle"
    assert record.created_at == 1795489800.172009
    assert (record.stage, record.progress, record.attempts, record.started_at) == (None, 0, 0, None)
    assert (record.error, record.images, record.timings) == (None, (), {})


def test_running_job_shows_how_far_it_is() -> None:
    running = WAITING | {"status": "processing", "stage": "generate", "step": "10", "steps": "20", "attempts": "2"}
    record = JobRecord.from_hash("a-job", running)
    assert (record.stage, record.step, record.steps, record.attempts) == (Stage.GENERATE, 10, 20, 2)
    assert record.progress == progress_of(Status.PROCESSING, Stage.GENERATE, 10, 20)


def test_ended_job_has_its_images_or_its_error() -> None:
    ended = WAITING | {"started_at": "1.5", "ended_at": "2.5", "timings": '{"total":1.0}'}
    images, error = json.dumps([IMAGE]), '{"code":"out_of_memory","message":"too large"}'
    done = JobRecord.from_hash("a-job", ended | {"status": "succeeded", "images": images, "error": ""})
    assert done.images == (ImageRecord.model_validate(IMAGE),)
    assert (done.error, done.progress, done.started_at, done.ended_at) == (None, 1.0, 1.5, 2.5)
    failed = JobRecord.from_hash("a-job", ended | {"status": "failed", "images": "[]", "error": error})
    assert failed.error == JobError(code="out_of_memory", message="too large")
    assert failed.images == ()


def test_refused_job_shows_what_came_instead_of_a_specification() -> None:
    refused = {name: value for name, value in WAITING.items() if name != "spec"} | {
        "status": "failed",
        "request": '{"width": NaN}',
    }
    record = JobRecord.from_hash("a-job", refused)
    assert record.spec is None
    assert record.request is not None
    assert list(record.request) == ["width"]


def test_fields_of_a_newer_release_are_passed_over() -> None:
    assert JobRecord.from_hash("a-job", WAITING | {"mood": "bright"}) == JobRecord.from_hash("a-job", WAITING)


def newer(**changed: Any) -> JobRecord:
    return JobRecord.from_hash("a-job", WAITING | changed)


def spec_of(**changed: Any) -> str:
    return json.dumps(json.loads(WAITING["spec"]) | changed)


def test_words_of_a_newer_version_are_shown_as_they_are() -> None:
    error = '{"code": "too_pretty", "message": "the picture is too pretty", "hint": "ask for less"}'
    record = newer(status="dreaming", stage="upscale", step="1", steps="2", error=error, timings='{"upscale": 2.5}')
    assert (record.status, record.stage, record.step, record.steps) == ("dreaming", "upscale", 1, 2)
    assert record.error == JobError(code="too_pretty", message="the picture is too pretty")
    assert (record.timings, record.progress) == ({"upscale": 2.5}, 0.0)
    assert record.model_dump(mode="json")["status"] == "dreaming"


def test_known_words_are_members_of_their_kinds() -> None:
    record = newer(status="processing", stage="generate")
    assert record.status is Status.PROCESSING
    assert record.stage is Stage.GENERATE


@pytest.mark.parametrize("status", [*Status, "dreaming"])
def test_time_of_its_end_tells_whether_a_job_of_an_unknown_status_has_ended(status: str) -> None:
    expected = status not in {"queued", "processing"}
    assert newer(status=status, ended_at="2.5").has_ended == expected
    assert newer(status=status).has_ended == (expected and status != "dreaming")


# What a newer version wrote into the specification, and what of it is shown as it is.
UNREAD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"priority": "urgent"}, {"priority": "urgent"}),
    ({"n": "many"}, {"n": "many"}),
    ({"output": {"format": "avif", "quality": 50}}, {"output": {"format": "avif", "quality": 50}}),
    (
        {"output": {"format": "webp", "crop": {"width": 64, "height": "x"}}},
        {"output": {"format": "webp", "crop": {"width": 64, "height": "x"}}},
    ),
    ({"metadata": {"order": "7", "count": 1}}, {"metadata": {"order": "7", "count": 1}}),
    ({"output": {"format": "webp", "dpi": 300}}, {"output": {"format": "webp", "dpi": 300}}),
    ({"output": 5}, {"output": 5}),
]


@pytest.mark.parametrize(("changed", "unread"), UNREAD, ids=lambda each: ascii(each)[:40])
def test_value_that_is_not_understood_leaves_the_rest_of_a_specification(
    changed: dict[str, Any], unread: dict[str, Any]
) -> None:
    record = newer(spec=spec_of(**changed))
    assert record.spec is not None
    assert (record.spec.prompt, record.spec.width, record.spec.priority) == ("a red circle", 128, "normal")
    assert (record.unread, record.is_partial) == (unread, True)


def test_what_is_understood_inside_of_a_field_is_read() -> None:
    record = newer(spec=spec_of(output={"format": "webp", "dpi": 300}, metadata={"order": "7", "count": 1}))
    assert record.spec is not None
    assert (record.spec.output.format, record.spec.metadata) == ("webp", {"order": "7"})


def test_unknown_field_of_a_specification_is_left_aside() -> None:
    record = newer(spec=spec_of(strength=0.5))
    assert (record.spec, record.unread) == (JobRecord.from_hash("a-job", WAITING).spec, None)
    assert record.is_partial


@pytest.mark.parametrize("changed", [{"width": None}, {"seed": "drawn later"}, {"prompt": ["a", "b"]}])
def test_request_shows_what_is_there_where_no_specification_is_left(changed: dict[str, Any]) -> None:
    record = newer(spec=spec_of(**changed))
    assert record.spec is None
    assert record.request == json.loads(spec_of(**changed))


def test_images_are_shown_as_far_as_they_are_understood() -> None:
    images = json.dumps([IMAGE | {"depth": 16}, IMAGE | {"width": None}, "elsewhere", IMAGE])
    record = newer(status="succeeded", images=images)
    assert record.images == (ImageRecord.model_validate(IMAGE),) * 2
    assert record.is_partial


def test_record_of_a_newer_schema_is_partial_whatever_is_understood_of_it() -> None:
    assert newer(schema=str(names.SCHEMA_VERSION + 1)).is_partial
    assert not newer(schema=str(names.SCHEMA_VERSION)).is_partial


@pytest.mark.parametrize(
    ("field", "value"),
    [("spec", "{broken"), ("images", "["), ("timings", "no JSON"), ("error", "[" * 100_000), ("created_at", "soon")],
)
def test_record_that_cannot_be_read_says_which_field_it_is_and_nothing_of_it(field: str, value: str) -> None:
    with pytest.raises(RecordUnreadable) as caught:
        newer(**{field: value})
    assert f": {field}: " in str(caught.value)
    assert value not in str(caught.value)
    assert caught.value.caller == "default"


@pytest.mark.parametrize("field", ["queue", "caller", "created_at"])
def test_record_without_what_every_record_has_cannot_be_read(field: str) -> None:
    with pytest.raises(RecordUnreadable, match=f": {field}: "):
        JobRecord.from_hash("a-job", {name: value for name, value in WAITING.items() if name != field})


def test_worker_gets_a_specification_that_is_understood_whole() -> None:
    assert spec_to_run(WAITING) == JobRecord.from_hash("a-job", WAITING).spec


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (None, "spec: is missing"),
        ("{broken", "spec: is no JSON"),
        (spec_of(strength=0.5), "strength: there is no such field"),
        (spec_of(output={"dpi": 300}), "output.dpi: there is no such field"),
        (spec_of(priority="urgent"), "priority: should be 'low', 'normal' or 'high'"),
        (spec_of(width="wide"), "width: should be a valid integer"),
    ],
)
def test_worker_gets_no_specification_that_is_not(spec: str | None, reason: str) -> None:
    fields = {name: value for name, value in {**WAITING, "spec": spec}.items() if value is not None}
    with pytest.raises(InvalidRequest) as refused:
        spec_to_run(fields)
    assert str(refused.value) == reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
spec_names = st.sampled_from([*JobSpec.model_fields, "strength"])
hash_names = st.sampled_from(["stage", "step", "steps", "attempts", "error", "images", "timings", "request", "schema"])


@hypothesis_settings(deadline=None, max_examples=200)
@given(spec=st.dictionaries(spec_names, json_values), fields=st.dictionaries(hash_names, json_values))
def test_whatever_json_a_newer_version_writes_there_is_a_record(spec: dict[str, Any], fields: dict[str, Any]) -> None:
    written = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    try:
        record = newer(spec=spec_of(**spec), **written)
    except RecordUnreadable as exc:  # A text is no JSON.
        assert any(f": {name}: " in str(exc) and isinstance(fields[name], str) for name in fields)
    else:
        assert record.status is Status.QUEUED
        record.model_dump(mode="json")


@hypothesis_settings(deadline=None)
@given(steps=st.integers(0, 1_000))
def test_progress_never_falls_from_the_queue_to_the_end(steps: int) -> None:
    way = [
        progress_of(Status.QUEUED, None, 0, 0),
        progress_of(Status.PROCESSING, None, 0, 0),
        progress_of(Status.PROCESSING, Stage.ENCODE, 0, 0),
        *(progress_of(Status.PROCESSING, Stage.GENERATE, step, steps) for step in range(steps + 1)),
        progress_of(Status.PROCESSING, Stage.POSTPROCESS, 0, 0),
        progress_of(Status.PROCESSING, Stage.UPLOAD, 0, 0),
        progress_of(Status.SUCCEEDED, Stage.UPLOAD, 0, 0),
    ]
    assert way == sorted(way)
    assert (way[0], way[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("status", Status)
def test_only_queued_and_processing_jobs_go_on(status: Status) -> None:
    assert status.is_terminal == (status not in {Status.QUEUED, Status.PROCESSING})
