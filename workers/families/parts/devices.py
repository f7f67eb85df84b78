"""Where a component of a pipeline computes, also while its weights wait elsewhere."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.hooks.group_offloading import _get_group_onload_device


def device_of(part: Any) -> torch.device:
    """The device that a component computes on, and takes its inputs on."""
    hook = getattr(part, "_hf_hook", None)
    if (device := getattr(hook, "execution_device", None)) is not None:
        return torch.device(device)
    try:
        device = _get_group_onload_device(part)
    except ValueError:  # Nothing of it is offloaded.
        device = part.device
    return torch.device(device)
