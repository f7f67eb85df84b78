"""Schedules of flow-matching models by the names that jobs use, each with its shift."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Hashable, Sequence
from typing import Any

import diffusers
import numpy as np

from workers.families.parts.scheduler_names import FLOW_PREDICTION, FLOW_SCHEDULERS, OWN

# These compute a shift that depends on the size by themselves, when they are told its `mu`.
_SHIFT_BY_SIZE = ("FlowMatchEulerDiscreteScheduler", "FlowMatchLCMScheduler", "UniPCMultistepScheduler")


def is_flow(own: Any) -> bool:
    """Whether a model's own scheduler is one of a flow-matching model."""
    return "FlowMatch" in type(own).__name__ or own.config.get("prediction_type") == FLOW_PREDICTION


def make_flow_scheduler(name: str, own: Any, *, mu: float, shift: float | None) -> Any:
    """
    A fresh diffusers scheduler.

    Args:
        name: A key of `FLOW_SCHEDULERS`, or "default".
        own: The model's own scheduler, whose configuration it has.
        mu: The logarithm of the shift that the model has for this size, where it depends on the size.
        shift: In place of the model's own.

    Raises:
        ValueError: There is none of that name.
    """
    if name not in (OWN, *FLOW_SCHEDULERS):
        raise ValueError(f"flow-matching models have {', '.join((OWN, *FLOW_SCHEDULERS))}")
    class_name, changes = (type(own).__name__, {}) if name == OWN else FLOW_SCHEDULERS[name]
    shift_of_size = _shift_of_size(own, mu)
    fixed = shift if shift is not None or class_name in _SHIFT_BY_SIZE else shift_of_size
    if fixed is not None:
        shifts = {"shift": fixed, "flow_shift": fixed, "use_dynamic_shifting": False}
    else:
        shifts = dict.fromkeys(("shift", "flow_shift"), own.config.get("shift", own.config.get("flow_shift", 1.0)))
    kind = getattr(diffusers, class_name)
    known = inspect.signature(kind.__init__).parameters
    # What a class does not know it would warn of.
    wanted = dict(own.config) | changes | shifts
    return kind.from_config({key: value for key, value in wanted.items() if key in known})


def _shift_of_size(own: Any, mu: float) -> float | None:
    """What a schedule that depends on the size comes to for one; None where the model's does not."""
    if not own.config.get("use_dynamic_shifting"):
        return None
    return mu if own.config.get("time_shift_type") == "linear" else math.exp(mu)


def calculate_shift(image_seq_len: int, own: Any, max_shift: float = 1.15, max_image_seq_len: int = 4096) -> float:
    """
    `mu` of a picture of so many tokens, as diffusers' pipelines compute it: a line through two points.

    Args:
        own: The scheduler whose configuration has these.
        max_shift, max_image_seq_len: The second point, where the configuration has none.
    """
    config = own.config
    first, last = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", max_image_seq_len)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", max_shift)
    slope = (high - low) / (last - first)
    return float(image_seq_len * slope + (low - slope * first))


class FlowSchedulers:
    """
    Gives each job its own scheduler, copied from one that is set to the same schedule; everything on the CPU.

    Args:
        own: The model's.
        keeps_flow_sigmas: Whether schedulers that have noise levels of their own for flow matching keep these, as in
            some of diffusers' pipelines.
    """

    _MOST = 128

    def __init__(self, own: Any, *, keeps_flow_sigmas: bool) -> None:
        self._own = own
        self._keeps_flow_sigmas = keeps_flow_sigmas
        self._templates: dict[Hashable, Any] = {}

    def take(self, name: str, steps: int, *, sigmas: Sequence[float] | None, mu: float, shift: float | None) -> Any:
        """
        A scheduler of this job's own, its timesteps set and its index at the beginning.

        Args:
            sigmas: Noise levels before the shift, one for each step, for schedulers that take them; None for their own.
            mu, shift: As of `make_flow_scheduler`.
        """
        key = (name, steps, None if sigmas is None else tuple(sigmas), mu, shift)
        if key not in self._templates:
            if len(self._templates) >= self._MOST:
                self._templates.pop(next(iter(self._templates)))
            template = make_flow_scheduler(name, self._own, mu=mu, shift=shift)
            has_own_sigmas = self._keeps_flow_sigmas and template.config.get("use_flow_sigmas")
            _set_timesteps(template, steps, None if has_own_sigmas else sigmas, mu)
            template.set_begin_index(0)
            self._templates[key] = template
        return copy.deepcopy(self._templates[key])


def _set_timesteps(scheduler: Any, steps: int, sigmas: Sequence[float] | None, mu: float) -> None:
    known = inspect.signature(scheduler.set_timesteps).parameters
    given: dict[str, Any] = {"num_inference_steps": steps, "device": "cpu"}
    if sigmas is not None and "sigmas" in known:
        given["sigmas"] = np.array(sigmas)  # An array of its own: UniPC writes into it.
    if scheduler.config.get("use_dynamic_shifting"):
        given["mu"] = mu
    scheduler.set_timesteps(**given)
