"""What the models of each family take, known without torch, so that submission refuses what would have no effect."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from jobs.fields import MAX_PROMPT_CHARS

Guidance = Literal["true", "embedded", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """
    Of a family. What an entry of the catalogue says of its own model goes before.

    Attributes:
        guidance: What `guidance_scale` is. "true": classifier-free guidance (Ho & Salimans 2022), for which each image
            has a second row in a pass, with the negative prompt. "embedded": the model was distilled with it, and takes
            it as an input. "none": it has no effect. None: it depends on the model.
        guided_above: Of true guidance, the scale up to which it is off.
        negative_prompt: Whether the models take one, with true guidance; None where it depends on the model.
        empty_negative: With true guidance, the text that stands in the place of a negative prompt where there is none.
        shift: Whether they are flow-matching models, whose schedule has a shift.
        steps_edits: Whether their edits run in the passes of generations: with each scheduler, with a shift, and with
            texts that were encoded elsewhere. Other edits are calls of the pipeline's own.
        side_multiple: Of which sides are multiples, at the least: a patch of latents.
        max_prompt_chars: Of a prompt, and of a negative one: more where a language model reads them.
        min_seen_side: Of a picture that an edit by instruction looks at, in pixels.
        max_seen_ratio: Likewise, its longer side over its shorter one; None for any.
    """

    guidance: Guidance | None = None
    guided_above: float = 1.0
    negative_prompt: bool | None = None
    empty_negative: str = ""
    shift: bool = False
    steps_edits: bool = False
    side_multiple: int = 1
    max_prompt_chars: int = 4_000
    min_seen_side: int = 1
    max_seen_ratio: float | None = None


_UNET = Traits(guidance="true", negative_prompt=True, steps_edits=True, side_multiple=8)

_FLUX2 = Traits(
    guidance="embedded",
    negative_prompt=False,
    shift=True,
    steps_edits=True,
    side_multiple=16,
    max_prompt_chars=MAX_PROMPT_CHARS,
    min_seen_side=64,
    max_seen_ratio=8.0,
)

# Of every other family nothing is known but what the entry says.
FAMILIES = {
    "stable-diffusion": _UNET,
    "stable-diffusion-xl": _UNET,
    "simulated": Traits(guidance="true", negative_prompt=True),
    "stable-diffusion-3": Traits(guidance="true", negative_prompt=True, shift=True, steps_edits=True, side_multiple=16),
    "flux": Traits(guidance="embedded", negative_prompt=False, shift=True, steps_edits=True, side_multiple=16),
    "flux2": _FLUX2,
    "flux2-klein": replace(_FLUX2, guidance="true"),
    "qwen-image": Traits(
        guidance="true",
        negative_prompt=True,
        empty_negative=" ",
        shift=True,
        steps_edits=True,
        side_multiple=16,
        max_prompt_chars=MAX_PROMPT_CHARS,
    ),
    # Its pipelines write guidance g as prompt + g (prompt - without), which is off at 0.
    "z-image": Traits(
        guidance="true",
        guided_above=0.0,
        negative_prompt=True,
        shift=True,
        steps_edits=True,
        side_multiple=16,
        max_prompt_chars=MAX_PROMPT_CHARS,
    ),
}

UNKNOWN = Traits()
