"""Which published model, of those that docs/models.md has entries of, a new one is most like."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.models.components import Pipeline

SOURCE = Path(__file__).with_name("published.toml")

# A UNet that takes guidance as an input was distilled for a few steps, whatever it was before.
_DISTILLED_UNET = "lcm-dreamshaper"
_BILLION = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """
    One of them.

    Attributes:
        entry: Its lines for `models.toml`.
        told_by: Values in the configurations of its components, by "transformer.guidance_embeds" and the like.
        named: A word that names of such models have.
        parameters: Of its components, in billions.
    """

    title: str
    entry: Mapping[str, Any]
    told_by: Mapping[str, Any]
    named: str | None
    parameters: Mapping[str, float]

    def is_like(self, pipeline: Pipeline, source: str) -> bool:
        """Whether nothing tells another model from it."""
        is_named = self.named is None or self.named in source.lower()
        return is_named and all(pipeline.config(key) == value for key, value in self.told_by.items())

    def distance(self, pipeline: Pipeline, source: str) -> tuple[bool, int, float]:
        """Smaller for the nearer of two that a model is like: its own id, more in common, as many parameters."""
        own = pipeline.denoiser.parameters if pipeline.denoiser else 0
        published = _BILLION * max((self.parameters.get(name, 0) for name in ("unet", "transformer")), default=0)
        ratio = abs(math.log(own / published)) if own and published else math.inf
        return (self.entry["source"] != source, -len(self.told_by) - (self.named is not None), ratio)


def read() -> dict[str, Any]:
    """All that docs/models.md says of models and nothing computes."""
    return tomllib.loads(SOURCE.read_text("utf-8"))


def published(name: str) -> Published:
    """One of them. Raises `KeyError` where there is none of that name."""
    return dict(_all())[name]


def class_of_family(family: str) -> str:
    """The pipeline of diffusers that loads the models of a family."""
    return str(read()["families"][family]["pipeline"])


def most_like(pipeline: Pipeline, family: str, source: str) -> Published | None:
    """
    That which a new model is most like; None where it is like none.

    Args:
        source: A hub's id, or the name of a folder or file.
    """
    if isinstance(pipeline.config("unet.time_cond_proj_dim"), int):
        return published(_DISTILLED_UNET)
    found = [each for _, each in _all() if each.entry["family"] == family and each.is_like(pipeline, source)]
    return min(found, key=lambda each: each.distance(pipeline, source), default=None)


def _all() -> Iterable[tuple[str, Published]]:
    source = read()
    for name, each in source["published"].items():
        yield (
            name,
            Published(
                title=each["title"],
                entry=source["models"][name],
                told_by=each.get("told_by", {}),
                named=each.get("named"),
                parameters=each["parameters"],
            ),
        )
