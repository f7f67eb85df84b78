"""
Has the weights of a pipeline wait in the machine's memory, and come to a GPU when they are computed with.

By whole components, one at a time, or by layers while those before them compute (diffusers' group offloading). Both
hang on hooks of the components' calls, so they hold for passes of the engine and for calls of a pipeline's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from diffusers.hooks import apply_group_offloading

from jobs.catalogue.entry import Model

log = structlog.get_logger()

_WAITING = torch.device("cpu")
_STAY = ("safety_checker",)  # small, and without a part in diffusers' own offloading
_STAY_BY_LAYER = ("vae", *_STAY)  # As small; what is upcast or tiled later, layers that wait would not follow.


class Turns:
    """
    Components of which one is on the device at a time. For one thread: `Engine` has `in_turn` for it.

    Attributes:
        present: The one that is.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.present: torch.nn.Module | None = None

    def bring(self, part: torch.nn.Module) -> None:
        """Have a component on the device, and the one before it wait."""
        if part is self.present:
            return
        if self.present is not None:
            self.present.to(_WAITING)
        part.to(self.device)
        self.present = part


class Turn(ModelHook):
    """
    Brings a component before it is called: by `forward`, or, of an autoencoder, by `encode` and `decode`.

    Attributes:
        execution_device: By which diffusers, too, knows where it computes.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.execution_device = turns.device

    def pre_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What it is called with, as it is."""
        self._turns.bring(module)
        return args, kwargs


def place(pipeline: Any, entry: Model, device: torch.device) -> None:
    """Put a pipeline on its device, or have it wait beside it, as its entry says."""
    if entry.offload is not None and device.type == "cpu":
        log.warning("offload has no effect: this process computes where weights would wait", model=entry.name)
    if entry.offload is None or device.type == "cpu":
        pipeline.to(device)
        return
    (by_component if entry.offload == "model" else by_layer)(parts_of(pipeline, entry), device)


def parts_of(pipeline: Any, entry: Model) -> dict[str, torch.nn.Module]:
    """The components that compute on the device."""
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    elsewhere = "text_encoder" if entry.text_device == "cpu" else " "
    return {name: part for name, part in parts.items() if not name.startswith(elsewhere)}


def by_component(parts: Mapping[str, torch.nn.Module], device: torch.device) -> Turns:
    """Have components take turns on a device."""
    turns = Turns(device)
    for name, part in parts.items():
        if name in _STAY:
            part.to(device)
        else:
            add_hook_to_module(part, Turn(turns))
    return turns


def by_layer(parts: Mapping[str, torch.nn.Module], device: torch.device) -> None:
    """Have layers come to a device one after the other; on a GPU the next while one computes."""
    has_streams = device.type == "cuda"
    for name, part in parts.items():
        if name in _STAY_BY_LAYER or not getattr(part, "_supports_group_offloading", True):
            part.to(device)
            continue
        apply_group_offloading(
            part,
            onload_device=device,
            offload_device=_WAITING,
            offload_type="leaf_level",
            non_blocking=has_streams,
            use_stream=has_streams,
            record_stream=has_streams,
        )
