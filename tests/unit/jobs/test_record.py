"""A job's record, as it is read from the hash that the scripts write."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.record import ImageRecord, JobError, JobRecord, progress_of
from jobs.states import Stage, Status

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
