"""The names that jobs have for schedulers, and what diffusers calls them; known without it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobs.catalogue.entry import Model

OWN = "default"  # the model's own scheduler, as its directory has it

_KARRAS = {"use_karras_sigmas": True}
_SDE = {"algorithm_type": "sde-dpmsolver++"}
_CONSISTENCY = {"original_inference_steps": 50}  # The most that a request may ask: jobs/catalogue/entry.py.

# diffusers' class, and what its configuration changes.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "pndm": (
        "PNDMScheduler",
        {"skip_prk_steps": True},
    ),  # As Stable Diffusion has it; else it takes no less than 4 steps.
    "lms": ("LMSDiscreteScheduler", {}),
    "lms_karras": ("LMSDiscreteScheduler", _KARRAS),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_karras": ("EulerDiscreteScheduler", _KARRAS),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "heun_karras": ("HeunDiscreteScheduler", _KARRAS),
    "dpm2": ("KDPM2DiscreteScheduler", {}),
    "dpm2_ancestral": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"} | _KARRAS),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", _SDE),
    "dpmpp_2m_sde_karras": ("DPMSolverMultistepScheduler", _SDE | _KARRAS),
    # It sets `lower_order_final` by itself at the first use, with a warning each time.
    "dpmpp_2s": ("DPMSolverSinglestepScheduler", {"algorithm_type": "dpmsolver++", "lower_order_final": True}),
    "deis": ("DEISMultistepScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "unipc_karras": ("UniPCMultistepScheduler", _KARRAS),
    "sa_solver": ("SASolverScheduler", {}),
    "lcm": ("LCMScheduler", _CONSISTENCY),
    "tcd": ("TCDScheduler", _CONSISTENCY),
}

FLOW_PREDICTION = "flow_prediction"

_FLOW = {"prediction_type": FLOW_PREDICTION, "use_flow_sigmas": True}

# Those that flow-matching models have.
FLOW_SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("FlowMatchEulerDiscreteScheduler", {}),
    "heun": ("FlowMatchHeunDiscreteScheduler", {}),
    "lcm": ("FlowMatchLCMScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"} | _FLOW),
    "unipc": ("UniPCMultistepScheduler", _FLOW),
}


def unknown_schedulers(names: Iterable[str]) -> list[str]:
    """Those of the names that no scheduler has."""
    return sorted(set(names) - {OWN, *SCHEDULERS})


def unfit_schedulers(entry: Model) -> list[str]:
    """Those that an entry offers, and that models of its family do not run with: its jobs that name them would fail."""
    if not entry.traits.shift:
        return []
    return sorted({*entry.schedulers} & {*SCHEDULERS} - {OWN, *FLOW_SCHEDULERS})
