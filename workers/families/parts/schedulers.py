"""Schedulers by the names that jobs use; each job gets its own, for they keep history and step index."""

from __future__ import annotations

import copy
from typing import Any

import diffusers

from jobs.errors import ErrorCode
from jobs.kinds.generate import GenerateSpec
from workers.engine.errors import GenerationFailed
from workers.families.parts.scheduler_names import OWN, SCHEDULERS


def make_scheduler(name: str, own: Any) -> Any:
    """
    A fresh diffusers scheduler.

    Args:
        name: A key of `SCHEDULERS`, or "default".
        own: The model's own scheduler: betas and prediction type are the model's, whatever the scheduler.
    """
    if name == OWN:
        return type(own).from_config(own.config)
    class_name, changes = SCHEDULERS[name]
    return getattr(diffusers, class_name).from_config(own.config, **changes)


def check_steps(spec: GenerateSpec, own: Any) -> None:
    """
    Raise `GenerationFailed`, `invalid_request`, for more steps than a model's own scheduler runs; a catalogue does not
    know it.
    """
    most = own.config.get("original_inference_steps") if spec.scheduler == OWN and own is not None else None
    if most is not None and spec.num_inference_steps > most:
        reason = f"num_inference_steps: {spec.model} runs at most {most} steps with its own scheduler"
        raise GenerationFailed(ErrorCode.INVALID_REQUEST, reason)


class SchedulerCache:
    """
    Gives each job its own scheduler, copied from one that is set to the same number of steps.

    A copy takes about a fifth of making one anew. Everything stays on the CPU, where reading an index or a coefficient
    does not wait for the device.
    """

    _MOST = 128

    def __init__(self, own: Any) -> None:
        self._own = own
        self._templates: dict[tuple[str, int], Any] = {}

    def take(self, name: str, num_inference_steps: int) -> Any:
        """A scheduler of this job's own, its timesteps set and its index at the beginning."""
        key = (name, num_inference_steps)
        if key not in self._templates:
            if len(self._templates) >= self._MOST:
                self._templates.pop(next(iter(self._templates)))
            template = make_scheduler(name, self._own)
            template.set_timesteps(num_inference_steps, device="cpu")
            if hasattr(template, "set_begin_index"):
                template.set_begin_index(0)
            self._templates[key] = template
        return copy.deepcopy(self._templates[key])
