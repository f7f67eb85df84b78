"""Any other diffusers text-to-image pipeline: a pass is its own `__call__`, for jobs with equal parameters."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch

from jobs.catalogue import Model
from jobs.errors import ErrorCode
from jobs.spec import JobSpec
from workers.engine.adapter import OnStep
from workers.errors import GenerationFailed
from workers.families.schedulers import make_scheduler
from workers.families.size_class import size_class
from workers.postprocess import Pixels

_TRIAL_STEPS = 2


class WholeRun:
    """A job whose one pass is all of its steps. `images` is float32 (n, height, width, 3), 0 to 1, when it is done."""

    def __init__(self, spec: JobSpec, family_key: Hashable) -> None:
        self.spec = spec
        self.images: Any = None
        sampling = (spec.width, spec.height, spec.num_inference_steps, spec.guidance_scale, spec.scheduler)
        is_negated = bool(spec.negative_prompt)
        self.share_key: Hashable = (family_key, *sampling, is_negated)
        self.cost_key: Hashable = (family_key, size_class(spec.width, spec.height), spec.guidance_scale > 1, is_negated)

    @property
    def rows(self) -> int:
        return self.spec.n

    @property
    def step(self) -> int:
        return 0 if self.images is None else self.spec.num_inference_steps

    @property
    def passes_left(self) -> int:
        """Steps, for a pass is timed as `_TRIAL_STEPS` of them; all are run in one pass."""
        return self.spec.num_inference_steps - self.step

    def advance(self, prediction: Any) -> None:
        self.images = prediction


class WholePipeline:
    """Adapts a pipeline that has no family of its own here. Jobs join and leave between its runs."""

    def __init__(self, entry: Model, pipeline: Any) -> None:
        self.entry = entry
        self._pipeline = pipeline
        self._own_scheduler = getattr(pipeline, "scheduler", None)
        self._takes = set(inspect.signature(pipeline.__call__).parameters)
        pipeline.set_progress_bar_config(disable=True)

    def encode(self, specs: Sequence[JobSpec]) -> list[None]:
        """The pipeline does it in its own call."""
        return [None] * len(specs)

    def begin(self, spec: JobSpec, _conditioning: None) -> WholeRun:
        """
        Check that the pipeline can be asked for this.

        Raises:
            GenerationFailed: `invalid_request`, for a negative prompt where it takes none.
        """
        if spec.negative_prompt and "negative_prompt" not in self._takes:
            raise GenerationFailed(ErrorCode.INVALID_REQUEST, f"negative_prompt: {self.entry.name} takes none")
        return WholeRun(spec, f"{self.entry.name}@{self.entry.revision} {self.entry.dtype}")

    @torch.inference_mode()
    def predict(self, batch: Sequence[WholeRun], max_rows: int, on_step: OnStep) -> list[Any]:
        """Run the pipeline for all images of the batch, at most `max_rows` in a call; a reproducible job alone."""
        images = [(each.spec, index) for each in batch for index in range(each.spec.n)]
        if any(each.spec.reproducible for each in batch):
            calls = [[(each.spec, index) for index in range(each.spec.n)] for each in batch]
        else:
            calls = [images[at : at + max_rows] for at in range(0, len(images), max_rows)]
        steps = batch[0].spec.num_inference_steps

        def told_of(number: int) -> OnStep:
            """Takes the steps of one of several calls for their share of all."""
            return lambda step: on_step((number * steps + step) // len(calls))

        made = np.concatenate([self._call(call, told_of(number)) for number, call in enumerate(calls)])
        ends = np.cumsum([each.spec.n for each in batch])[:-1]
        return list(np.split(made, ends))

    def decode(self, denoising: WholeRun, _max_images: int) -> list[Pixels]:
        """Its pictures are there already; they only become bytes."""
        if not np.isfinite(denoising.images).all():
            raise GenerationFailed(ErrorCode.INVALID_OUTPUT, "the model produced values that are not finite")
        return list((denoising.images * 255).round().clip(0, 255).astype(np.uint8))

    def trial(self, denoising: WholeRun) -> WholeRun:
        """A run of a few steps."""
        steps = min(_TRIAL_STEPS, denoising.spec.num_inference_steps)
        return WholeRun(denoising.spec.model_copy(update={"num_inference_steps": steps}), None)

    def _call(self, images: Sequence[tuple[JobSpec, int]], on_step: OnStep) -> Any:
        spec = images[0][0]
        if self._own_scheduler is not None:
            self._pipeline.scheduler = make_scheduler(spec.scheduler, self._own_scheduler)

        def after_step(_pipeline: Any, index: int, _timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
            on_step(index + 1)
            return kwargs

        asked: dict[str, Any] = {
            "prompt": [each.prompt for each, _ in images],
            "negative_prompt": [each.negative_prompt for each, _ in images] if spec.negative_prompt else None,
            "width": spec.width,
            "height": spec.height,
            "num_inference_steps": spec.num_inference_steps,
            "guidance_scale": spec.guidance_scale,
            "generator": [torch.Generator("cpu").manual_seed(each.seed + index) for each, index in images],
            "output_type": "np",
            "callback_on_step_end": after_step,
        }
        known = {name: value for name, value in asked.items() if name in self._takes}
        return np.asarray(self._pipeline(**known).images)
