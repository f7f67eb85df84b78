"""
What a worker counts of itself, for Prometheus. What concerns the whole system is read from the job table by the API.

Labels are models, stages and GPUs: few, and none that a client can make up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector

from jobs.kinds.kind import POSTPROCESS, UPLOAD, Kind
from jobs.kinds.registry import KINDS
from jobs.table.record import JobRecord
from jobs.table.states import Status
from workers.engine.denoiser import Pass

NO_MODEL = ""  # The label of jobs of a kind that needs none.

_QUEUED = "queued"  # The timing of a job's wait, beside those of its stages.
_STAGE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500)
_PASS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60)
_LOAD_S = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600)
_RESULTS = LOADED, FAILED = "loaded", "failed"  # of loading a model for jobs that wait
_ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


class WorkerMetrics:
    """
    Counts what its worker reports; from any thread.

    Attributes:
        registry: What a scrape of this worker shows.
    """

    def __init__(self, models: Iterable[str] = ()) -> None:
        """
        Each of the models is there from the start, so that the first time of something is seen as a change; and so are
        the kinds that need none.
        """
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._attempts = Counter(
            "imagemill_attempts",
            "Attempts that this worker began, and that count; `model` is empty where a kind needs none.",
            ["model"],
            registry=registry,
        )
        self._stage = Histogram(
            "imagemill_stage_seconds",
            "Seconds that ended jobs spent in each stage of their kind; `queued` is their wait before.",
            ["model", "stage"],
            buckets=_STAGE_S,
            registry=registry,
        )
        self._job = Histogram(
            "imagemill_job_seconds",
            "Seconds from submission to the end of jobs that succeeded.",
            ["model"],
            buckets=_STAGE_S,
            registry=registry,
        )
        self._images = Counter("imagemill_images", "Images that were published.", ["model"], registry=registry)
        self._steps = Counter(
            "imagemill_steps", "Denoising steps, one for each image and step.", ["model"], registry=registry
        )
        self._pass = Histogram(
            "imagemill_pass_seconds",
            "Seconds of each pass through a model.",
            ["model"],
            buckets=_PASS_S,
            registry=registry,
        )
        self._rows = Histogram(
            "imagemill_pass_rows",
            "Rows of each pass: one for each image, two with guidance.",
            ["model"],
            buckets=_ROWS,
            registry=registry,
        )
        self._room = Counter(
            "imagemill_pass_room_rows", "Rows that passes had room for, taken or not.", ["model"], registry=registry
        )
        self._loads = Counter(
            "imagemill_model_loads",
            "Models that were loaded because jobs waited for them; `result` is `loaded` or `failed`.",
            ["model", "result"],
            registry=registry,
        )
        self._load = Histogram(
            "imagemill_model_load_seconds",
            "Seconds that such a load took, with the picture that a model is tried with.",
            ["model"],
            buckets=_LOAD_S,
            registry=registry,
        )
        self._unloads = Counter(
            "imagemill_model_unloads", "Models that gave their memory back.", ["model"], registry=registry
        )
        of_devices = (self._steps, self._pass, self._rows, self._room)
        for model in models:
            for result in _RESULTS:
                self._loads.labels(model, result)
            self._unloads.labels(model)
            self._load.labels(model)
            self._expect(model, _stages_of(kind for kind in KINDS.values() if kind.needs_model), of_devices)
        if without := [kind for kind in KINDS.values() if not kind.needs_model]:
            self._expect(NO_MODEL, _stages_of(without))

    def _expect(self, model: str, stages: Iterable[str], further: Iterable[Counter | Histogram] = ()) -> None:
        for metric in (self._attempts, self._job, self._images, *further):
            metric.labels(model)
        for stage in stages:
            self._stage.labels(model, stage)

    def note_attempt(self, model: str) -> None:
        """A job entered its first stage."""
        self._attempts.labels(model).inc()

    def note_pass(self, done: Pass, seconds: float) -> None:
        """The engine ran a pass."""
        self._pass.labels(done.model).observe(seconds)
        self._rows.labels(done.model).observe(done.rows)
        self._room.labels(done.model).inc(done.room)
        self._steps.labels(done.model).inc(done.output_steps)

    def note_load(self, model: str, seconds: float | None) -> None:
        """A model was loaded for jobs that waited, in some seconds; None for one that could not be."""
        self._loads.labels(model, FAILED if seconds is None else LOADED).inc()
        if seconds is not None:
            self._load.labels(model).observe(seconds)

    def note_unload(self, model: str) -> None:
        """A model gave its memory back."""
        self._unloads.labels(model).inc()

    def note_end(self, record: JobRecord, model: str) -> None:
        """This worker wrote the end of a job of a model down."""
        for stage in _stages_of([KINDS[record.kind]]):
            if stage in record.timings:
                self._stage.labels(model, stage).observe(record.timings[stage])
        if record.status is Status.SUCCEEDED:
            self._job.labels(model).observe(record.timings.get("total", 0.0))
            pictures = [each for each in record.artifacts if each.content_type.startswith("image/")]
            self._images.labels(model).inc(len(pictures))


def _stages_of(kinds: Iterable[Kind[Any, Any]]) -> list[str]:
    """The stages whose time is reported: the wait, the kinds' own stages, and those of all files."""
    own = (str(stage) for kind in kinds for stage in kind.stages)
    return list(dict.fromkeys([_QUEUED, *own, POSTPROCESS, UPLOAD]))
