"""A record as it is shown: read by its kind, and tolerant of what only a newer version knows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import InvalidRequest
from jobs.kinds.generate import GenerateSpec
from jobs.kinds.picture import Stage
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.view import Image, JobView, progress_of, spec_to_run, view_of
from tests.unit.jobs.hashes import IMAGE, WAITING


def view(**changed: Any) -> JobView:
    return view_of(JobRecord.from_hash("a-job", WAITING | changed))


def pictures(shown: JobView) -> GenerateSpec:
    assert isinstance(shown.spec, GenerateSpec)
    return shown.spec


def payload(**changed: Any) -> str:
    return json.dumps(json.loads(WAITING["spec"]) | changed)


def test_waiting_job_has_its_parameters_and_nothing_else_yet() -> None:
    shown = view()
    assert (pictures(shown).prompt, shown.model, shown.kind) == ("a red circle", "shapes", "generate")
    assert shown.parameters is not None
    assert (shown.parameters["seed"], shown.parameters["n"], shown.parameters["priority"]) == (1, 1, "normal")
    assert (shown.progress, shown.images, shown.metadata) == (0, (), {})


def test_progress_is_that_of_its_kind() -> None:
    running = view(status="processing", stage="generate", step="10", steps="20")
    assert running.progress == progress_of("generate", Status.PROCESSING, Stage.GENERATE, 10, 20) == 0.475
    assert view(status="succeeded", stage="upload").progress == 1.0
    assert view(status="processing", stage="dream", step="1", steps="2").progress == 0.0


def test_pictures_are_shown_beside_all_else_that_the_job_made() -> None:
    other = {"key": "a/1.bin", "content_type": "application/x-tensor", "bytes": 4, "sha256": "00", "name": "trace"}
    shown = view(status="succeeded", images=json.dumps([IMAGE, other]))
    assert shown.images == (Image.model_validate(IMAGE),)
    assert [(each.key, each.name) for each in shown.artifacts] == [("a/1.bin", "trace")]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (None, ()),  # Of an earlier version.
        ('["prompt: cut to 77 tokens"]', ("prompt: cut to 77 tokens",)),
        ('{"prompt": "cut"}', ()),
        ('["cut", 77]', ("cut", "77")),
    ],
)
def test_warnings_of_a_job_are_sentences(written: str | None, shown: tuple[str, ...]) -> None:
    assert view(status="succeeded", **({} if written is None else {"warnings": written})).warnings == shown


def test_job_of_an_unknown_kind_is_shown_as_far_as_it_goes() -> None:
    shown = view(kind="dream", spec='{"depth": 3}', stage="dream", status="processing")
    assert (shown.kind, shown.stage, shown.parameters, shown.request) == ("dream", "dream", None, {"depth": 3})


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
    shown = view(spec=payload(**changed))
    spec = pictures(shown)
    assert (spec.prompt, spec.width, spec.priority) == ("a red circle", 128, "normal")
    assert (shown.unread, shown.is_partial) == (unread, True)
    assert shown.parameters is not None
    assert {name: shown.parameters[name] for name in unread if name != "metadata"} == {
        name: value for name, value in unread.items() if name != "metadata"
    }


def test_what_is_understood_inside_of_a_field_is_read() -> None:
    spec = pictures(view(spec=payload(output={"format": "webp", "dpi": 300}, metadata={"order": "7", "count": 1})))
    assert (spec.output.format, spec.metadata) == ("webp", {"order": "7"})


def test_unknown_field_of_a_specification_is_left_aside() -> None:
    shown = view(spec=payload(strength=0.5))
    assert (shown.spec, shown.unread) == (view().spec, None)
    assert shown.is_partial


@pytest.mark.parametrize("changed", [{"width": None}, {"seed": "drawn later"}, {"prompt": ["a", "b"]}])
def test_request_shows_what_is_there_where_no_specification_is_left(changed: dict[str, Any]) -> None:
    shown = view(spec=payload(**changed))
    assert (shown.spec, shown.parameters) == (None, None)
    assert shown.request == json.loads(payload(**changed))


def test_images_are_shown_as_far_as_they_are_understood() -> None:
    images = json.dumps([IMAGE | {"depth": 16}, IMAGE | {"width": None}, "elsewhere", IMAGE])
    shown = view(status="succeeded", images=images)
    assert shown.images == (Image.model_validate(IMAGE),) * 2
    assert shown.is_partial


def test_worker_gets_a_specification_that_is_understood_whole() -> None:
    assert spec_to_run(JobRecord.from_hash("a-job", WAITING)) == view().spec


def test_worker_gets_no_job_of_a_kind_that_it_does_not_know() -> None:
    with pytest.raises(InvalidRequest, match=r"^kind: there is no kind 'dream'; the kinds are generate"):
        spec_to_run(JobRecord.from_hash("a-job", WAITING | {"kind": "dream"}))


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (None, "spec: is missing"),
        (payload(strength=0.5), "strength: unknown field"),
        (payload(output={"dpi": 300}), "output.dpi: unknown field"),
        (payload(priority="urgent"), "priority: should be 'low', 'normal' or 'high'"),
        (payload(width="wide"), "width: should be a valid integer"),
    ],
)
def test_worker_gets_no_specification_that_is_not(spec: str | None, reason: str) -> None:
    fields = {name: value for name, value in {**WAITING, "spec": spec}.items() if value is not None}
    with pytest.raises(InvalidRequest) as refused:
        spec_to_run(JobRecord.from_hash("a-job", fields))
    assert str(refused.value) == reason


@given(steps=st.integers(0, 1_000))
def test_progress_never_falls_from_the_queue_to_the_end(steps: int) -> None:
    def progress(stage: Stage | None, step: int = 0, steps: int = 0, status: Status = Status.PROCESSING) -> float:
        return progress_of("generate", status, stage, step, steps)

    way = [
        progress(None, status=Status.QUEUED),
        progress(None),
        progress(Stage.ENCODE),
        *(progress(Stage.GENERATE, step, steps) for step in range(steps + 1)),
        progress(Stage.POSTPROCESS),
        progress(Stage.UPLOAD),
        progress(Stage.UPLOAD, status=Status.SUCCEEDED),
    ]
    assert way == sorted(way)
    assert (way[0], way[-1]) == (0.0, 1.0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
spec_names = st.sampled_from([*GenerateSpec.model_fields, "strength"])


@given(spec=st.dictionaries(spec_names, json_values), images=json_values)
def test_whatever_json_a_newer_version_writes_is_shown(spec: dict[str, Any], images: Any) -> None:
    shown = view(spec=payload(**spec), images=json.dumps(images))
    assert shown.status is Status.QUEUED
    json.dumps(shown.model_dump(mode="json"))
