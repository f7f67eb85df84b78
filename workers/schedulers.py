"""Schedulers by the names that jobs use; each job gets its own, for they keep history and step index."""

from __future__ import annotations

from typing import Any

import diffusers

# diffusers' class, and what its configuration changes.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}


def make_scheduler(name: str, model_config: dict[str, Any]) -> Any:
    """
    A fresh diffusers scheduler.

    Args:
        name: A key of `SCHEDULERS`.
        model_config: Of the model's own scheduler: betas and prediction type are the model's, whatever the scheduler.
    """
    class_name, changes = SCHEDULERS[name]
    return getattr(diffusers, class_name).from_config(model_config, **changes)
