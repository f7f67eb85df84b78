"""Any other diffusers text-to-image pipeline: a pass is its own `__call__`, for jobs with equal parameters."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

from jobs.catalogue.entry import Model
from jobs.errors import ErrorCode
from jobs.kinds.generate import GenerateSpec
from workers.engine.adapter import OnStep
from workers.engine.errors import GenerationFailed, WrongPictures
from workers.families.family import Family, PictureFamily, PictureRun
from workers.families.pictures import check_number
from workers.families.schedulers import make_scheduler
from workers.families.size_class import size_class
from workers.runners.postprocess import Pixels

_TRIAL_STEPS = 2


class WholeRun(PictureRun):
    """
    A job whose one pass is all of its steps.

    Attributes:
        images: When it is done, (n, height, width, 3): levels in uint8, or 0 to 1 in another type.
    """

    def __init__(self, spec: GenerateSpec, family_key: Hashable) -> None:
        super().__init__(spec)
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
        return 0 if self.images is None else self.steps

    @property
    def passes_left(self) -> int:
        """Steps, for a pass is timed as `_TRIAL_STEPS` of them; all are run in one pass."""
        return self.steps - self.step

    def advance(self, prediction: Any) -> None:
        self.images = prediction


class WholePipeline(PictureFamily[WholeRun]):
    """Adapts a pipeline that has no family of its own here. Jobs join and leave between its runs."""

    def __init__(self, entry: Model, pipeline: Any) -> None:
        super().__init__(entry)
        self._pipeline = pipeline
        self._own_scheduler = getattr(pipeline, "scheduler", None)
        self._takes = set(inspect.signature(pipeline.__call__).parameters)
        pipeline.set_progress_bar_config(disable=True)

    @property
    def are_sides_tried(self) -> bool:
        """Few pipelines say which sides they make."""
        return True

    def encode(self, specs: Sequence[GenerateSpec]) -> list[None]:
        """The pipeline does it in its own call."""
        return [None] * len(specs)

    def begin(self, spec: GenerateSpec, _conditioning: None) -> WholeRun:
        """
        Check that the pipeline can be asked for this.

        Raises:
            GenerationFailed: `invalid_request`, for a negative prompt where it takes none.
        """
        if spec.negative_prompt and "negative_prompt" not in self._takes:
            raise GenerationFailed(ErrorCode.INVALID_REQUEST, f"negative_prompt: {self.entry.name} does not support it")
        return WholeRun(spec, f"{self.entry.name}@{self.entry.revision} {self.entry.dtype}")

    @torch.inference_mode()
    def predict(self, batch: Sequence[WholeRun], max_rows: int, on_step: OnStep) -> list[Any]:
        """Run the pipeline for all images of the batch, at most `max_rows` in a call; a reproducible job alone."""
        images = [(each.spec, index) for each in batch for index in range(each.spec.n)]
        if any(each.spec.reproducible for each in batch):
            calls = [[(each.spec, index) for index in range(each.spec.n)] for each in batch]
        else:
            calls = [images[at : at + max_rows] for at in range(0, len(images), max_rows)]
        steps = batch[0].steps

        def told_of(number: int) -> OnStep:
            """Takes the steps of one of several calls for their share of all."""
            return lambda step: on_step((number * steps + step) // len(calls))

        made = np.concatenate([self._call(call, told_of(number)) for number, call in enumerate(calls)])
        ends = np.cumsum([each.spec.n for each in batch])[:-1]
        return list(np.split(made, ends))

    def decode(self, run: WholeRun, _max_images: int) -> list[Pixels]:
        """Its pictures are there already; they only become bytes."""
        images = run.images
        if images.dtype == np.uint8:
            return list(images)
        if not np.isfinite(images).all():
            raise GenerationFailed(ErrorCode.INVALID_OUTPUT, "the model produced values that are not finite numbers")
        return list((images * 255).round().clip(0, 255).astype(np.uint8))

    def trial(self, run: WholeRun) -> WholeRun:
        """A run of a few steps."""
        steps = min(_TRIAL_STEPS, run.steps)
        return WholeRun(run.spec.model_copy(update={"num_inference_steps": steps}), None)

    def _call(self, images: Sequence[tuple[GenerateSpec, int]], on_step: OnStep) -> Any:
        """Run the pipeline for these images; (len(images), height, width, 3)."""
        spec = images[0][0]
        arguments: dict[str, Any] = {
            "prompt": [each.prompt for each, _ in images],
            "width": spec.width,
            "height": spec.height,
            "num_inference_steps": spec.num_inference_steps,
            "guidance_scale": spec.guidance_scale,
            "generator": [torch.Generator("cpu").manual_seed(each.seed + index) for each, index in images],
            "output_type": "np",
            "callback_on_step_end": _after_step(on_step),
        }
        if spec.negative_prompt:  # Left out otherwise: not every pipeline takes None for "none".
            arguments["negative_prompt"] = [each.negative_prompt for each, _ in images]
        if self._own_scheduler is not None:
            scheduler = make_scheduler(spec.scheduler, self._own_scheduler)
            if "callback_on_step_end" not in self._takes:
                _report_steps(scheduler, spec.num_inference_steps, on_step)
            self._pipeline.scheduler = scheduler
        known = {name: value for name, value in arguments.items() if name in self._takes}
        made = self._pictures(self._pipeline(**known))
        check_number(len(made), len(images), self.entry)
        return made

    def _pictures(self, result: Any) -> Any:
        if not hasattr(result, "images"):
            advice = f"[models.{self.entry.name}] of models.toml must name a pipeline that makes pictures."
            raise WrongPictures(f"{type(self._pipeline).__name__} made no image", advice)
        return np.asarray(result.images)


def _after_step(on_step: OnStep) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    def after_step(_pipeline: Any, index: int, _timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        on_step(index + 1)
        return kwargs

    return after_step


def _report_steps(scheduler: Any, steps: int, on_step: OnStep) -> None:
    """Report each step that a scheduler makes, for a pipeline that takes no callback: PixArt, LongCat."""
    step = scheduler.step
    calls = 0

    @functools.wraps(step)  # Pipelines look at its parameters.
    def reporting_step(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        made = step(*args, **kwargs)
        calls += 1
        on_step(min(calls // scheduler.order, steps))  # Those of second order make two calls of a step.
        return made

    scheduler.step = reporting_step


FAMILY = Family(pipeline=DiffusionPipeline, adapt=lambda entry, pipeline, _cache: WholePipeline(entry, pipeline))
