"""A pipeline of diffusers behind its own `__call__`: a run of all steps, told of and interrupted at each."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from workers.engine.adapter import OnStep
from workers.engine.errors import WrongPictures
from workers.families.parts.flow_schedules import is_flow, make_flow_scheduler
from workers.families.parts.schedulers import make_scheduler
from workers.families.whole.call_guidance import CallGuidance

# Some write the prompt anew before they draw it, with what the process' own generator draws: the same seed would make
# another picture. Ernie, LongCat, Ideogram, LTX.
_REWRITES_NOTHING = {
    "use_pe": False,
    "enable_prompt_rewrite": False,
    "prompt_upsampling": False,
    "enable_prompt_enhancement": False,
}

# What classes of diffusers have to be told that no job says, by how their names begin.
_ALWAYS: dict[str, dict[str, Any]] = {
    # It would make one of ten sizes of about a megapixel, whatever is asked.
    "HunyuanDiT": {"use_resolution_binning": False},
    # Likewise; and Sana Sprint's generations are of the size that is asked.
    "SanaSprintImg2Img": {"use_resolution_binning": False},
}

# Classes that make right pictures one at a time only, by how their names begin.
_ALONE = (
    "GlmImage",  # Its language model draws with the first image's seed.
    "Amused",  # Takes one generator for all images.
    "CogView4",  # Fills texts up to the longest of a call, without a mask: each shows in its neighbours' pictures.
)
# Those that do with a negative prompt.
_ALONE_IF_NEGATED = (
    "Kandinsky",  # The second takes one generator then; the third cuts it to the longest prompt of a call.
    "LuminaPipeline",  # Cuts it likewise.
)

# In place of a picture that the pipeline's own safety checker has blacked out; no pipeline makes this by itself.
WITHHELD = -np.inf

# Parameters of pipelines that stand for fields of a job, or for how it is run.
_OF_JOBS = {
    *("prompt", "negative_prompt", "width", "height", "num_inference_steps", "guidance_scale", "generator", "image"),
    *(
        "mask_image",
        "strength",
        "num_images_per_prompt",
        "output_type",
        "return_dict",
        "latents",
        "timesteps",
        "sigmas",
    ),
    "max_sequence_length",
}

_MIDDLE = "intermediate_timesteps"  # of consistency models that run two steps; refused with any other number


class OwnCall:
    """
    Calls a pipeline with what it takes.

    Attributes:
        pipeline: With its progress bar off.
        own_scheduler: The one that it came with; None where it has none.
        guidance: What a job's `guidance_scale` is of it.
    """

    def __init__(self, entry: Model, pipeline: Any) -> None:
        self.pipeline = pipeline
        self._takes = set(inspect.signature(pipeline.__call__).parameters)
        self._name = type(pipeline).__name__
        self._always = dict(next((given for begins, given in _ALWAYS.items() if self._name.startswith(begins)), {}))
        if entry.max_sequence_length is not None:
            self._always["max_sequence_length"] = entry.max_sequence_length
        self._fixed = {**self._always, **_REWRITES_NOTHING}
        self._always |= entry.call
        self._entry = entry
        self.own_scheduler = getattr(pipeline, "scheduler", None)
        self.guidance = CallGuidance(entry, pipeline)
        pipeline.set_progress_bar_config(disable=True)

    @property
    def _has_callback(self) -> bool:
        """One for its own steps: the older one is called with a prior's, too, by Stable unCLIP."""
        has_older = "callback" in self._takes and "prior_num_inference_steps" not in self._takes
        return "callback_on_step_end" in self._takes or has_older

    def is_alone(self, *, is_negated: bool) -> bool:
        """
        Whether each image needs a call of its own.

        Args:
            is_negated: With a negative prompt.
        """
        return self._name.startswith(_ALONE) or (is_negated and self._name.startswith(_ALONE_IF_NEGATED))

    def takes(self, name: str) -> bool:
        """Whether it has a parameter of this name."""
        return name in self._takes

    def takes_any(self, beginnings: tuple[str, ...]) -> bool:
        """Whether it has one whose name begins so."""
        return any(name.startswith(beginnings) for name in self._takes)

    def check_call(self) -> None:
        """
        Make sure that `call` of the entry has an effect, and takes none from a job.

        Raises:
            InvalidConfiguration: The pipeline has no such parameter, or jobs or this worker set it.
        """
        table = f"call of [models.{self._entry.name}] in models.toml"
        for name in self._entry.call:
            if name not in self._takes:
                reason = f"{self._name} takes no {name}"
            elif name in (*_OF_JOBS, *self._fixed, *self.guidance.arguments(1.0)) or name.startswith("callback"):
                reason = f"{name} is set by jobs, by other lines of the entry, or by the worker"
            else:
                continue
            raise InvalidConfiguration(f"model {self._entry.name}: {reason}: leave it out of {table}")

    def __call__(self, arguments: Mapping[str, Any], *, scheduler: str, steps: int, on_step: OnStep) -> Any:
        """
        Run it, without the arguments that it does not take.

        Args:
            scheduler: Its name.
            steps: That it runs.
            on_step: Called with their number, after each; what it raises ends the run.

        Returns:
            Pictures, (number, height, width, 3), 0 to 1; `WITHHELD` throughout where its safety checker kept one back.

        Raises:
            WrongPictures: It made none.
        """
        given = {**arguments, **self._always, **_REWRITES_NOTHING}
        if steps != 2:
            given[_MIDDLE] = None
        if self._has_callback:
            given |= _callbacks(on_step, steps)
        known = {name: value for name, value in given.items() if name in self._takes}
        if self.own_scheduler is not None:
            self.pipeline.scheduler = made = _scheduler_of(scheduler, self.own_scheduler)
            if not self._has_callback:
                _report_steps(made, steps, on_step)
        result = self.pipeline(**known)
        images = getattr(result, "images", getattr(result, "image", None))  # The second is Kandinsky 5's.
        if images is None:
            advice = f"[models.{self._entry.name}] of models.toml must name a pipeline that makes pictures."
            raise WrongPictures(f"{type(self.pipeline).__name__} made no image", advice)
        images = np.asarray(images)
        withheld = getattr(result, "nsfw_content_detected", None) or (False,)
        shown = images / np.float32(255) if images.dtype == np.uint8 else images  # Levels: what PIL's pictures have.
        return np.where(np.reshape(withheld, (-1, 1, 1, 1)), WITHHELD, shown) if any(withheld) else shown


def _scheduler_of(name: str, own: Any) -> Any:
    """A fresh one of this name; a shift that depends on the size pipelines compute by themselves."""
    return make_flow_scheduler(name, own, mu=0.0, shift=None) if is_flow(own) else make_scheduler(name, own)


def _callbacks(on_step: OnStep, steps: int) -> dict[str, Any]:
    """Of today, and the older one, which is called with a step, too: aMUSEd."""

    def callback(index: int, _timestep: Any, _latents: Any) -> None:
        on_step(min(index + 1, steps))

    return {"callback_on_step_end": _after_step(on_step, steps), "callback": callback, "callback_steps": 1}


def _after_step(on_step: OnStep, steps: int) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    def after_step(_pipeline: Any, index: int, _timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        on_step(min(index + 1, steps))
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
