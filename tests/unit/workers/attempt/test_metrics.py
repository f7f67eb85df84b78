"""What a worker counts of itself: few series, from the start, and each thing once."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from prometheus_client import CollectorRegistry

from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.generate import spec_of
from jobs.table.record import Artifact, JobRecord
from jobs.table.states import Status
from workers.attempt.metrics import WorkerMetrics
from workers.engine.capacity import Capacity
from workers.engine.denoiser import Pass
from workers.engine.engine import Engine
from workers.families.simulated import DeviceTimes, SimulatedModel

TIMINGS = {"queued": 0.5, "encode": 0.01, "generate": 2.0, "postprocess": 0.02, "upload": 0.1, "total": 2.63}
IMAGE = Artifact(key="a", content_type="image/png", bytes=1, sha256="")


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def ended(status: Status, timings: dict[str, float], images: int = 0) -> JobRecord:
    return JobRecord(
        id="a",
        status=status,
        queue="gpu.shapes",
        caller="default",
        created_at=0,
        timings=timings,
        artifacts=(IMAGE,) * images,
    )


def test_served_models_have_their_series_before_anything_happened() -> None:
    metrics = WorkerMetrics(["shapes", "other"])
    for model in ("shapes", "other"):
        assert value(metrics.registry, "imagemill_images_total", model=model) == 0
        assert value(metrics.registry, "imagemill_stage_seconds_count", model=model, stage="upload") == 0


def test_job_that_succeeded_is_in_every_stage_and_its_images_count() -> None:
    metrics = WorkerMetrics()
    metrics.note_end(ended(Status.SUCCEEDED, TIMINGS, images=3), "shapes")
    for stage in ("queued", "encode", "generate", "postprocess", "upload"):
        labels = {"model": "shapes", "stage": stage}
        assert value(metrics.registry, "imagemill_stage_seconds_sum", **labels) == TIMINGS[stage]
    assert value(metrics.registry, "imagemill_job_seconds_sum", model="shapes") == 2.63
    assert value(metrics.registry, "imagemill_images_total", model="shapes") == 3


def test_job_that_failed_is_in_those_stages_that_it_passed() -> None:
    metrics = WorkerMetrics(["shapes"])
    metrics.note_end(ended(Status.FAILED, {"queued": 0.5, "encode": 0.01}), "shapes")
    assert value(metrics.registry, "imagemill_stage_seconds_count", model="shapes", stage="encode") == 1
    assert value(metrics.registry, "imagemill_stage_seconds_count", model="shapes", stage="generate") == 0
    assert value(metrics.registry, "imagemill_job_seconds_count", model="shapes") == 0


def test_passes_are_counted_with_their_rows_and_the_room_they_had() -> None:
    metrics = WorkerMetrics()
    metrics.note_pass(Pass(model="shapes", rows=6, room=16, forwards=1, output_steps=3), 0.25)
    metrics.note_pass(Pass(model="shapes", rows=10, room=16, forwards=1, output_steps=5), 0.75)
    for name, expected in (
        ("imagemill_pass_rows_sum", 16),
        ("imagemill_pass_room_rows_total", 32),
        ("imagemill_steps_total", 8),
        ("imagemill_pass_seconds_sum", 1.0),
        ("imagemill_pass_seconds_count", 2),
    ):
        assert value(metrics.registry, name, model="shapes") == expected


def test_engine_tells_of_each_pass_and_of_each_step_of_each_image_once(tmp_path: Path, catalogue: Catalogue) -> None:
    passes: list[Pass] = []
    adapters = {"shapes": SimulatedModel(catalogue.models["shapes"], DeviceTimes.parse("launch_s=0 row_s=0.0001"))}
    capacity = Capacity(tmp_path / "sizes.json", "simulated", time.perf_counter)
    engine = Engine(adapters, capacity, device=torch.device("cpu"), on_pass=lambda done, _s: passes.append(done))
    fields = {"prompt": "a", "model": "shapes", "seed": 1}
    tickets = [
        engine.submit("shapes", spec_of({**fields, "n": n, "num_inference_steps": steps}, catalogue))
        for n, steps in ((1, 4), (2, 3))
    ]
    while not all(ticket.is_over for ticket in tickets):
        engine.turn()
    assert sum(each.output_steps for each in passes) == 1 * 4 + 2 * 3
    assert sum(each.rows for each in passes) == engine.counts.rows
    assert len(passes) == engine.counts.passes
    assert all(each.rows <= each.room and each.model == "shapes" for each in passes)
