"""What a request says that its model would not heed: refused, so that no parameter is silently without effect."""

from __future__ import annotations

from typing import Protocol

from jobs.catalogue.entry import Model
from jobs.errors import NoEffect


class Sampled(Protocol):
    """A specification of pictures, as far as it may say more than its model heeds."""

    @property
    def negative_prompt(self) -> str: ...
    @property
    def guidance_scale(self) -> float: ...
    @property
    def shift(self) -> float | None: ...


def check_effects(spec: Sampled, model: Model) -> None:
    """
    Raise `NoEffect` for a field without which a model would make the same pictures.

    What only a worker knows of the model is its worker's to refuse.
    """
    # The entry's own value stands in every specification, whether it was said or not.
    if model.how_guided == "none" and spec.guidance_scale != model.defaults.guidance_scale:
        raise NoEffect("guidance_scale", f"{model.name} has no guidance; leave it out")
    if spec.negative_prompt:
        _check_negative_prompt(spec, model)
    if spec.shift is not None and not model.traits.shift:
        raise NoEffect("shift", f"{model.name} has no schedule with a shift; leave it out")


def effects(spec: Sampled, model: Model) -> tuple[str, ...]:
    """What a submitter should know of a value that is heeded, and means something else than it seems to: sentences."""
    above = model.traits.guided_above
    if model.how_guided == "true" and 0 < spec.guidance_scale < above:
        return (f"guidance_scale: {spec.guidance_scale:g} turns guidance off, as every value up to {above:g} does",)
    return ()


def _check_negative_prompt(spec: Sampled, model: Model) -> None:
    if model.takes_negative_prompt is False:
        raise NoEffect("negative_prompt", f"{model.name} takes none; leave it out")
    if model.how_guided == "true" and not model.is_guided(spec.guidance_scale):
        raise NoEffect(
            "negative_prompt",
            f"has no effect with guidance_scale {spec.guidance_scale:g}; leave it out, or set guidance_scale above "
            f"{model.traits.guided_above:g}",
        )
