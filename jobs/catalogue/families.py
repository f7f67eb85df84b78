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
        only_edits: Whether they make no picture of a text alone.
        shift: Whether they are flow-matching models, whose schedule has a shift.
        steps_edits: Whether their edits run in the passes of generations, also with texts that were encoded elsewhere.
            Other edits are calls of the pipeline's own.
        side_multiple: Of which sides are multiples, at the least: a patch of latents.
        max_prompt_chars: Of a prompt, and of a negative one: more where a language model reads them.
        min_seen_side: Of a picture that an edit by instruction looks at, in pixels.
        max_seen_ratio: Likewise, its longer side over its shorter one; None for any.
        compile: Whether the shapes of its passes are known by rows and sizes, and diffusers names its blocks: see
            `jobs.catalogue.loading`.
        max_sequence_length, text_device, textual_inversions: Whether an entry's fields of these names have an effect.
    """

    guidance: Guidance | None = None
    guided_above: float = 1.0
    negative_prompt: bool | None = None
    empty_negative: str = ""
    only_edits: bool = False
    shift: bool = False
    steps_edits: bool = False
    side_multiple: int = 1
    max_prompt_chars: int = 4_000
    min_seen_side: int = 1
    max_seen_ratio: float | None = None
    max_sequence_length: bool = False
    text_device: bool = False
    textual_inversions: bool = False
    compile: bool = False


_UNET = Traits(guidance="true", negative_prompt=True, steps_edits=True, side_multiple=8, textual_inversions=True)
_COMPILED_UNET = replace(_UNET, compile=True)

_PIXART = replace(_UNET, steps_edits=False, side_multiple=16, max_sequence_length=True, textual_inversions=False)
_FLOW = Traits(
    guidance="true", negative_prompt=True, shift=True, side_multiple=16, max_sequence_length=True, text_device=True
)
# Of those whose text encoder is a language model.
_FLOW_LM = replace(_FLOW, max_prompt_chars=MAX_PROMPT_CHARS)
_FLUX2 = replace(
    _FLOW_LM,
    guidance="embedded",
    negative_prompt=False,
    steps_edits=True,
    min_seen_side=64,
    max_seen_ratio=8.0,
    compile=True,
)

_FLUX = replace(_FLOW, guidance="embedded", negative_prompt=False, steps_edits=True, compile=True)
_QWEN_IMAGE = replace(_FLOW_LM, empty_negative=" ", steps_edits=True)
_QWEN_IMAGE_EDIT = replace(_QWEN_IMAGE, only_edits=True, max_sequence_length=False)  # It cuts no texts.

# Of every other family nothing is known but what the entry says.
FAMILIES = {
    "stable-diffusion": _COMPILED_UNET,
    "stable-diffusion-xl": _COMPILED_UNET,
    "simulated": Traits(guidance="true", negative_prompt=True),
    "stable-diffusion-3": replace(_FLOW, steps_edits=True),
    "flux": _FLUX,
    "flux-kontext": _FLUX,
    "flux2": _FLUX2,
    "flux2-klein": replace(_FLUX2, guidance="true"),
    "qwen-image": _QWEN_IMAGE,
    "qwen-image-edit": _QWEN_IMAGE_EDIT,
    "qwen-image-edit-plus": _QWEN_IMAGE_EDIT,
    # Its pipelines write guidance g as prompt + g (prompt - without), which is off at 0.
    "z-image": replace(_FLOW_LM, guided_above=0.0, steps_edits=True),
    "chroma": replace(_FLOW, steps_edits=True, compile=True),
    "aura-flow": _FLOW,
    "lumina2": _FLOW_LM,
    "hunyuan-image": replace(_FLOW_LM, side_multiple=32),
    "krea2": replace(_FLOW_LM, guided_above=0.0),  # Likewise.
    "sana": replace(_FLOW_LM, side_multiple=32),
    "pixart-sigma": _PIXART,
    "pixart-alpha": _PIXART,
    "sana-sprint": replace(_FLOW_LM, guidance="embedded", negative_prompt=False, shift=False, side_multiple=32),
}

UNKNOWN = Traits()
