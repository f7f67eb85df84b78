"""A job's record, as it is read from the hash that the scripts write."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import names
from jobs.errors import RecordUnreadable
from jobs.table.record import Artifact, JobError, JobRecord
from jobs.table.states import Status
from tests.unit.jobs.hashes import IMAGE, WAITING


def test_waiting_job_has_a_payload_and_nothing_else_yet() -> None:
    record = JobRecord.from_hash("a-job", WAITING)
    assert (record.status, record.kind) == (Status.QUEUED, "generate")
    assert record.payload == json.loads(WAITING["spec"])
    assert record.created_at == 1795489800.172009
    assert (record.stage, record.attempts, record.started_at) == (None, 0, None)
    assert (record.error, record.artifacts, record.data, record.timings) == (None, (), None, {})


def test_kind_and_what_it_made_are_kept_as_they_are() -> None:
    made = {
        "key": "a/0.bin",
        "content_type": "application/x-tensor",
        "bytes": 4,
        "sha256": "00",
        "name": "trace",
        "k": [1],
    }
    record = newer(kind="dream", status="succeeded", images=json.dumps([made]), data='{"score": 0.5}', spec='{"x":[]}')
    assert (record.kind, record.payload, record.data) == ("dream", {"x": []}, {"score": 0.5})
    assert (record.artifacts[0].name, record.artifacts[0].meta) == ("trace", {"k": [1]})


def test_running_job_shows_how_far_it_is() -> None:
    running = WAITING | {"status": "processing", "stage": "generate", "step": "10", "steps": "20", "attempts": "2"}
    record = JobRecord.from_hash("a-job", running)
    assert (record.stage, record.step, record.steps, record.attempts) == ("generate", 10, 20, 2)


def test_ended_job_has_its_images_or_its_error() -> None:
    ended = WAITING | {"started_at": "1.5", "ended_at": "2.5", "timings": '{"total":1.0}'}
    images, error = json.dumps([IMAGE]), '{"code":"out_of_memory","message":"too large"}'
    done = JobRecord.from_hash("a-job", ended | {"status": "succeeded", "images": images, "error": ""})
    assert done.artifacts == (Artifact.model_validate(IMAGE),)
    assert (done.error, done.started_at, done.ended_at) == (None, 1.5, 2.5)
    failed = JobRecord.from_hash("a-job", ended | {"status": "failed", "images": "[]", "error": error})
    assert failed.error == JobError(code="out_of_memory", message="too large")
    assert failed.artifacts == ()


def test_refused_job_shows_what_came_instead_of_a_specification() -> None:
    refused = {name: value for name, value in WAITING.items() if name != "spec"} | {
        "status": "failed",
        "request": '{"width": NaN}',
    }
    record = JobRecord.from_hash("a-job", refused)
    assert record.payload is None
    assert record.request is not None
    assert list(record.request) == ["width"]


def test_fields_of_a_newer_release_are_passed_over() -> None:
    assert JobRecord.from_hash("a-job", WAITING | {"mood": "bright"}) == JobRecord.from_hash("a-job", WAITING)


def newer(**changed: Any) -> JobRecord:
    return JobRecord.from_hash("a-job", WAITING | changed)


def test_words_of_a_newer_version_are_shown_as_they_are() -> None:
    error = '{"code": "too_pretty", "message": "the picture is too pretty", "hint": "ask for less"}'
    record = newer(status="dreaming", stage="upscale", step="1", steps="2", error=error, timings='{"upscale": 2.5}')
    assert (record.status, record.stage, record.step, record.steps) == ("dreaming", "upscale", 1, 2)
    assert record.error == JobError(code="too_pretty", message="the picture is too pretty")
    assert record.timings == {"upscale": 2.5}


def test_known_words_are_members_of_their_kinds() -> None:
    assert newer(status="processing", stage="generate").status is Status.PROCESSING


@pytest.mark.parametrize("status", [*Status, "dreaming"])
def test_time_of_its_end_tells_whether_a_job_of_an_unknown_status_has_ended(status: str) -> None:
    expected = status not in {"queued", "processing"}
    assert newer(status=status, ended_at="2.5").has_ended == expected
    assert newer(status=status).has_ended == (expected and status != "dreaming")


def test_artifacts_are_kept_as_far_as_they_are_understood() -> None:
    artifacts = json.dumps([IMAGE | {"depth": 16}, IMAGE | {"bytes": None}, "elsewhere", IMAGE])
    record = newer(status="succeeded", images=artifacts)
    assert record.artifacts == (Artifact.model_validate(IMAGE | {"depth": 16}), Artifact.model_validate(IMAGE))
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
    assert f": {field} is damaged" in str(caught.value)
    assert value not in str(caught.value)
    assert caught.value.caller == "default"


@pytest.mark.parametrize("field", ["queue", "caller", "created_at"])
def test_record_without_what_every_record_has_cannot_be_read(field: str) -> None:
    with pytest.raises(RecordUnreadable, match=f": {field} is damaged"):
        JobRecord.from_hash("a-job", {name: value for name, value in WAITING.items() if name != field})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
hash_names = st.sampled_from(
    ["spec", "kind", "stage", "step", "steps", "attempts", "error", "images", "data", "timings", "request", "schema"]
)


@given(fields=st.dictionaries(hash_names, json_values))
def test_whatever_json_a_newer_version_writes_there_is_a_record(fields: dict[str, Any]) -> None:
    written = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    try:
        record = newer(**written)
    except RecordUnreadable as exc:  # A text is no JSON.
        assert any(f": {name} is damaged" in str(exc) and isinstance(fields[name], str) for name in fields)
    else:
        assert record.status is Status.QUEUED


@pytest.mark.parametrize("status", Status)
def test_only_queued_and_processing_jobs_go_on(status: Status) -> None:
    assert status.is_terminal == (status not in {Status.QUEUED, Status.PROCESSING})
