"""
Which pipeline of diffusers edits with a model: the loaded one, or a sibling that has the same components.

There are three sorts. Image to image begins at the picture and takes `strength`. Inpainting takes `mask_image`, too. A
pipeline that edits by instruction begins at noise and looks at the picture on the way: it takes no `strength`.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import diffusers
import numpy as np
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting, DiffusionPipeline
from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING
from PIL import Image

from jobs.catalogue.entry import Edited, Model, WayToEdit
from jobs.kinds.edit import MAX_REFERENCES
from workers.families.parts.edit_fields import check_edit
from workers.families.whole.own_call import OwnCall
from workers.runners.edit_work import Edit

# In names of diffusers' classes: ChromaPipeline, ChromaImg2ImgPipeline, ChromaInpaintPipeline.
_SIBLING = re.compile(r"(Img2Img|Inpaint)?Pipeline$")

_CONTROLS = ("control", "adapter")  # Begin names of parameters of pipelines whose `image` is depth, edges, a pose.


def _has_picture_channels(pipeline: Any) -> bool:
    """Four of latents, as many of the picture, and the mask."""
    return int(pipeline.unet.config.in_channels) == 9


# Pipelines to which a list as `image` is several pictures of one edit, and how many they take; as their code has it in
# diffusers 0.42.1. To others it is one picture for each prompt, or several frames, or all but the first are ignored.
_SEVERAL: dict[str, int] = {
    "BriaFibo2Pipeline": 5,
    **dict.fromkeys(
        (
            "BriaFiboEditPipeline",
            "Flux2KleinKVPipeline",
            "Flux2KleinPipeline",
            "Flux2Pipeline",
            "GlmImagePipeline",
            "QwenImage21Pipeline",
            "QwenImageEditPlusPipeline",
            "ZImageOmniPipeline",
        ),
        1 + MAX_REFERENCES,
    ),
}

# What of a model a sibling needs that it does not check before it runs.
_NEEDS: dict[str, Callable[[Any], bool]] = {
    "KandinskyInpaintCombinedPipeline": _has_picture_channels,
    "KandinskyV22InpaintCombinedPipeline": _has_picture_channels,
    # diffusers 0.42.1 looks for it in a transformer that never has it.
    "ChromaInpaintPipeline": lambda pipeline: "guidance_embeds" in pipeline.transformer.config,
}


class Editors:
    """
    Of a loaded pipeline. Siblings share its components: nothing is loaded for them.

    Args:
        own: The loaded one.
    """

    def __init__(self, entry: Model, own: OwnCall) -> None:
        self._entry = entry
        self._own = own

    @property
    def only(self) -> bool:
        """Whether the loaded pipeline makes no picture of a text alone."""
        kind = type(self._own.pipeline)
        return _is_editor(self._own) and kind not in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values()

    @functools.cached_property
    def of_whole(self) -> OwnCall | None:
        """Edits a picture without a mask; None where no pipeline does."""
        if _is_editor(self._own) and not self._own.takes("mask_image"):
            return self._own
        return self._sibling(AutoPipelineForImage2Image, "Img2ImgPipeline")

    @functools.cached_property
    def of_masked(self) -> OwnCall | None:
        """Repaints what is masked; None where no pipeline does."""
        if _is_editor(self._own) and self._own.takes("mask_image"):
            return self._own
        return self._sibling(AutoPipelineForInpainting, "InpaintPipeline")

    def ways(self) -> dict[Edited, WayToEdit]:
        """How it edits without a mask ("image") and with one ("mask"); what it does not do is left out."""
        editors: dict[Edited, OwnCall | None] = {"image": self.of_whole, "mask": self.of_masked}
        return {
            field: "strength" if editor.takes("strength") else "instruction"
            for field, editor in editors.items()
            if editor is not None
        }

    @property
    def most_references(self) -> int:
        """How many further pictures an edit without a mask may look at."""
        return 0 if self.of_whole is None else _most_pictures(self.of_whole) - 1

    def check(self, edit: Edit) -> OwnCall:
        """
        The pipeline that does this.

        Raises:
            GenerationFailed: `invalid_request`, where none does, or it would ignore a field.
        """
        check_edit(edit, self._entry, self.ways(), self.most_references)
        editor = self.of_whole if edit.mask is None else self.of_masked
        assert editor is not None, "one of its ways"  # noqa: S101
        return editor

    def _sibling(self, auto: Any, suffix: str) -> OwnCall | None:
        pipeline = self._own.pipeline
        if not isinstance(pipeline, DiffusionPipeline):
            return None
        made = _found(auto, pipeline) or _named(_SIBLING.sub(suffix, type(pipeline).__name__), pipeline)
        if made is None or not _NEEDS.get(type(made).__name__, lambda _pipeline: True)(made):
            return None
        call = OwnCall(self._entry, made)
        return call if _is_editor(call) else None


def _most_pictures(editor: OwnCall) -> int:
    return _SEVERAL.get(type(editor.pipeline).__name__, 1)


def arguments(edit: Edit, editor: OwnCall) -> dict[str, Any]:
    """What an editor is called with for its pictures, beside what a generation has."""
    spec = edit.spec
    image, *further = (Image.fromarray(each) for each in (edit.image, *edit.references))
    given: dict[str, Any] = {
        "image": [image, *further] if _most_pictures(editor) > 1 else image,
        "strength": spec.strength,
        # FLUX.1 Kontext makes the size that it is asked for if this is its area, and else the nearest of 1024².
        "max_area": spec.width * spec.height,
    }
    if edit.mask is not None:
        given["mask_image"] = Image.fromarray(edit.mask * np.uint8(255))
        given["_auto_resize"] = False  # Its inpainting makes one of a few sizes otherwise, whatever is asked.
    return given


def _is_editor(call: OwnCall) -> bool:
    return call.takes("image") and call.takes("prompt") and not call.takes_any(_CONTROLS)


def _found(auto: Any, pipeline: Any) -> Any:
    try:
        return auto.from_pipe(pipeline)
    except ValueError:  # It has no such sibling, or one with further components.
        return None


def _named(name: str, pipeline: Any) -> Any:
    """Its sibling of this name: some are not in the table of diffusers."""
    kind = getattr(diffusers, name, None)
    if kind is None or kind is type(pipeline):
        return None
    parameters = set(inspect.signature(kind.__init__).parameters)
    has = dict(pipeline.config) | pipeline.components
    try:
        return kind(**{each: value for each, value in has.items() if each in parameters})
    except (TypeError, ValueError):  # It has further components.
        return None
