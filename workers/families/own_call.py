"""A pipeline of diffusers behind its own `__call__`: a run of all steps, told of and interrupted at each."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jobs.catalogue.entry import Model
from workers.engine.adapter import OnStep
from workers.engine.errors import WrongPictures
from workers.families.call_guidance import CallGuidance
from workers.families.schedulers import make_scheduler

_CALLBACKS = ("callback_on_step_end", "callback")

# Some write the prompt anew before they draw it, with what the process' own generator draws: the same seed would make
# another picture. Ernie, LongCat, Ideogram, LTX.
_REWRITES_NOTHING = {
    "use_pe": False,
    "enable_prompt_rewrite": False,
    "prompt_upsampling": False,
    "enable_prompt_enhancement": False,
}

# Of all its pictures the first one's seed is what its language model draws with.
_ALONE = ("GlmImagePipeline",)


class OwnCall:
    """
    Calls a pipeline with what it takes.

    Attributes:
        pipeline: With its progress bar off.
        guidance: What a job's `guidance_scale` is of it.
        is_alone: Whether its pictures are made one by one: what a call draws would depend on the company.
    """

    def __init__(self, entry: Model, pipeline: Any) -> None:
        self.pipeline = pipeline
        self._takes = set(inspect.signature(pipeline.__call__).parameters)
        self._entry = entry
        self._own_scheduler = getattr(pipeline, "scheduler", None)
        self.guidance = CallGuidance(entry, pipeline)
        self.is_alone = type(pipeline).__name__ in _ALONE
        pipeline.set_progress_bar_config(disable=True)

    def takes(self, name: str) -> bool:
        """Whether it has a parameter of this name."""
        return name in self._takes

    def takes_any(self, beginnings: tuple[str, ...]) -> bool:
        """Whether it has one whose name begins so."""
        return any(name.startswith(beginnings) for name in self._takes)

    def __call__(self, arguments: Mapping[str, Any], *, scheduler: str, steps: int, on_step: OnStep) -> Any:
        """
        Run it, without the arguments that it does not take.

        Args:
            scheduler: Its name.
            steps: That it runs.
            on_step: Called with their number, after each; what it raises ends the run.

        Returns:
            Pictures, (number, height, width, 3): levels in uint8, or 0 to 1 in another type.

        Raises:
            WrongPictures: It made none.
        """
        given = {**arguments, **_REWRITES_NOTHING, **_callbacks(on_step, steps)}
        known = {name: value for name, value in given.items() if name in self._takes}
        if self._own_scheduler is not None:
            self.pipeline.scheduler = made = make_scheduler(scheduler, self._own_scheduler)
            if self._takes.isdisjoint(_CALLBACKS):
                _report_steps(made, steps, on_step)
        result = self.pipeline(**known)
        images = getattr(result, "images", getattr(result, "image", None))  # The second is Kandinsky 5's.
        if images is None:
            advice = f"[models.{self._entry.name}] of models.toml must name a pipeline that makes pictures."
            raise WrongPictures(f"{type(self.pipeline).__name__} made no image", advice)
        return np.asarray(images)


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
