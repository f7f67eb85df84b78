"""What the requests of a model may say, as it is shown: over HTTP, and on the command line."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from jobs.catalogue.entry import Edited, Model, WayToEdit
from jobs.catalogue.families import Guidance


class Takes(BaseModel):
    """What a model takes. Null is what only its workers know."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    guidance: Guidance | None
    """What `guidance_scale` is: `true` (classifier-free guidance), `embedded` (an input of the model), or `none`: it is
    refused."""
    guided_above: float | None
    """Of true guidance, the `guidance_scale` up to which it is off."""
    negative_prompt: bool | None
    """Whether a negative prompt has an effect; else it is refused."""
    empty_negative_prompt: str | None
    """What stands in its place where there is none; null where none is taken."""
    shift: bool
    """Whether the schedule has a `shift`."""
    side_multiple: int
    """Of which width and height are multiples, in pixels."""
    max_prompt_chars: int
    """Of a prompt, and of a negative one."""
    schedulers: tuple[str, ...]
    max_steps: dict[str, int]
    """Most steps with each of `schedulers`: some run fewer than `limits.max_steps`."""
    edits: dict[Edited, WayToEdit] | None
    """How it edits a whole picture (`image`) and a masked part (`mask`): by `strength`, or by `instruction`; what it
    does not name is refused."""


def takes_of(model: Model) -> Takes:
    """As its entry and its family say."""
    return Takes(
        guidance=model.how_guided,
        guided_above=model.traits.guided_above if model.how_guided == "true" else None,
        negative_prompt=model.takes_negative_prompt,
        empty_negative_prompt=model.traits.empty_negative if model.takes_negative_prompt else None,
        shift=model.traits.shift,
        side_multiple=model.side_multiple,
        max_prompt_chars=model.max_prompt_chars,
        schedulers=model.schedulers,
        max_steps={name: model.max_steps(name) for name in model.schedulers},
        edits=model.ways_to_edit,
    )
