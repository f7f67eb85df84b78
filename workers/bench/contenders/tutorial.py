"""The worker that tutorials of Celery and diffusers show: a task calls `pipe(prompt)`, one job after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from jobs.kinds.generate import GenerateSpec
from workers.bench.streams.real_time import serve_in_batches
from workers.bench.streams.simulation import Arrival, Outcome


class TutorialWorker:
    """
    A pipeline, used as its documentation shows.

    Args:
        pipeline: A diffusers text-to-image pipeline on its device. Its scheduler is used, whatever a job says.
    """

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        pipeline.set_progress_bar_config(disable=True)

    def threads(self) -> int:
        """What torch computes with here."""
        return torch.get_num_threads()

    def make(self, specs: Sequence[GenerateSpec]) -> float:
        """Make the pictures. Returns how many seconds it took."""
        started = time.perf_counter()
        for spec in specs:
            self._run(spec)
        return time.perf_counter() - started

    def serve(self, arrivals: Sequence[Arrival]) -> Outcome:
        """Take jobs as they come."""
        return serve_in_batches(arrivals, lambda specs: self._run(specs[0]), max_jobs=1)

    def _run(self, spec: GenerateSpec) -> None:
        self._pipeline(
            spec.prompt,
            negative_prompt=spec.negative_prompt or None,
            width=spec.width,
            height=spec.height,
            num_inference_steps=spec.num_inference_steps,
            guidance_scale=spec.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(spec.seed),
        )
