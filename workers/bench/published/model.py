"""A published model as its configurations say it, and pipelines made of them, with random weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from jobs.catalogue.entry import Model
from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec

Configuration = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """
    A model of a pipeline.

    Attributes:
        kind: Its class.
        config: The class of its configuration, where it takes one (transformers); diffusers' take the values.
        values: What differs from the defaults of either.
    """

    kind: Any
    config: Any = None
    values: Configuration = field(default_factory=dict)

    def make(self) -> Any:
        """The model, on torch's default device, in its default dtype."""
        return self.kind(self.config(**self.values)) if self.config else self.kind(**self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModel:
    """
    A published model, or one made small.

    Attributes:
        family, guidance: As in the catalogue.
        pipeline: Its class, and what it is given beside its parts.
        parts, tokenizers: By their names in the pipeline.
        scheduler: Its class in diffusers, and its configuration.
        steps, guidance_scale: Of a usual job.
        mixed_scale: Of jobs that have guidance among others that have none; None where the model has none, or always.
        call: What diffusers' own call is given for `guidance_scale`, and what else it needs for it.
        sides: In pixels, of the pictures that are measured; the first is the usual one.
        mixes_sizes: Whether jobs of several sizes share a pass.
    """

    name: str
    family: str
    guidance: Guidance | None = None
    pipeline: tuple[Any, Configuration]
    parts: Mapping[str, Part]
    tokenizers: Mapping[str, Callable[[], Any]]
    scheduler: tuple[Any, Configuration]
    steps: int
    guidance_scale: float
    mixed_scale: float | None = None
    call: Callable[[float], Configuration] = lambda scale: {"guidance_scale": scale}
    sides: tuple[int, ...] = (1024, 512)
    mixes_sizes: bool = False

    @property
    def is_flow_matching(self) -> bool:
        """Whether its denoiser is a transformer rather than a U-Net."""
        return "transformer" in self.parts


def build(published: PublishedModel, device: torch.device, dtype: str, seed: int = 0) -> Any:
    """A diffusers pipeline with random weights, made on the device and in its dtype from the start."""
    torch.manual_seed(seed)
    with torch.device(device), _default_dtype(getattr(torch, dtype)):
        models = {name: part.make() for name, part in published.parts.items()}
    if published.is_flow_matching:
        _draw(models["transformer"])
    for model in models.values():
        model.eval()
    kind, given = published.pipeline
    scheduler, configuration = published.scheduler
    tokenizers = {name: make() for name, make in published.tokenizers.items()}
    pipeline = kind(**models, **tokenizers, scheduler=scheduler.from_config(configuration), **given)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def entry_of(published: PublishedModel, dtype: str, *, steps: int | None = None) -> Model:
    """What a catalogue would say of it. `steps` in place of its own."""
    side = max(published.sides)
    fields = {
        "name": published.name,
        "source": "random weights",
        "revision": "random",
        "dtype": dtype,
        "family": published.family,
        "guidance": published.guidance,
        "schedulers": ("default",),
        "defaults": {
            "width": side,
            "height": side,
            "num_inference_steps": steps or published.steps,
            "guidance_scale": published.guidance_scale,
            "scheduler": "default",
        },
        "limits": {"min_side": 16, "max_side": side, "side_multiple": 16, "max_steps": 1_000, "max_n": 1},
    }
    return Model.model_validate(fields)


def spec_of(entry: Model, seed: int, side: int, **fields: Any) -> GenerateSpec:
    """A job of the entry's parameters, with a prompt of its own, but for `fields`; `side` in pixels."""
    own = {"model": entry.name, "prompt": f"a picture of {seed} things", "seed": seed, "width": side, "height": side}
    return GenerateSpec.model_validate(entry.defaults.model_dump() | own | fields)


@torch.no_grad()
def _draw(transformer: Any) -> None:
    """
    Weights with which a text changes the picture: as torch draws them, each layer makes its input √3 times smaller
    (He et al. 2015 has the gain), and behind many of them nothing is left of it.
    """
    for each in transformer.parameters():
        if each.dim() > 1:
            each.mul_(math.sqrt(3.0))
    for name in ("x_pad_token", "cap_pad_token"):  # Of Z-Image; as made they are whatever was in memory.
        if (token := getattr(transformer, name, None)) is not None:
            torch.nn.init.normal_(token, std=0.02)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
