"""Qwen-Image-Edit: Qwen-Image, whose language model reads the picture, too, and whose transformer looks at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers import QwenImageEditPipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import calculate_dimensions
from PIL import Image

from jobs.catalogue.entry import Edited, WayToEdit
from jobs.errors import ErrorCode
from jobs.kinds.generate import GenerateSpec
from workers.engine.errors import GenerationFailed
from workers.families.diffusers import WholeEdit
from workers.families.family import Family
from workers.families.flow.references import seen_by_field
from workers.families.flow.run import FlowConditioning, FlowRun
from workers.families.parts.embeddings import Embedding
from workers.families.qwen_image import QwenImage
from workers.runners.edit_work import Edit, Work, edit_of_gray

_AREA = 1024 * 1024  # pixels that the transformer looks at of each picture


class QwenImageEdit(QwenImage):
    """
    Adapts a `QwenImageEditPipeline`, which makes no picture of a text alone.

    It cuts no texts, and repaints no masked part: diffusers' pipeline for that makes about a megapixel, whatever is
    asked.
    """

    _stepped: ClassVar[Mapping[Edited, WayToEdit]] = {"image": "instruction"}

    @property
    def ways_to_edit(self) -> dict[Edited, WayToEdit]:
        """By instruction alone."""
        return dict(self._stepped)

    def work_to_try(self, spec: GenerateSpec) -> Work:
        """An edit of a gray picture."""
        return edit_of_gray(spec)

    def begin(self, work: Work, conditioning: FlowConditioning | None) -> FlowRun | WholeEdit:
        """
        As of any family.

        Raises:
            GenerationFailed: Likewise, and for what is no edit.
        """
        if not isinstance(work, Edit):
            raise GenerationFailed(ErrorCode.INVALID_REQUEST, f"image: {self.entry.name} only edits pictures")
        return super().begin(work, conditioning)

    def _condition_works(self, works: Sequence[Work]) -> list[FlowConditioning]:
        """Each alone: its texts are read together with its pictures."""
        return [self._read(work) if isinstance(work, Edit) else FlowConditioning(prompt=()) for work in works]

    def _read(self, edit: Edit) -> FlowConditioning:
        pictures = self._read_pictures(edit)
        prompt, *negative = (self._read_text(text, pictures) for text in self._texts(edit.spec))
        return FlowConditioning(prompt=prompt, negative=negative[0] if negative else None)

    def _read_text(self, text: str, pictures: Any) -> Embedding:
        encoded, mask = self.pipeline.encode_prompt(prompt=[text], image=pictures, device=self._text_device)
        assert mask is None, "one text alone is full"  # noqa: S101
        return (encoded[0].to(self._device),)

    def _read_pictures(self, edit: Edit) -> Any:
        """What the language model reads: as its pipeline takes it."""
        return self._resized(Image.fromarray(edit.image), _AREA)

    def _seen(self, edit: Edit) -> list[torch.Tensor]:
        """About a megapixel of each."""
        pictures = [Image.fromarray(pixels) for pixels in seen_by_field(edit, self.entry).values()]
        return [self.pipeline.image_processor.preprocess(self._resized(each, _AREA)) for each in pictures]

    def _resized(self, picture: Image.Image, area: int) -> Image.Image:
        width, height = calculate_dimensions(area, picture.width / picture.height)[:2]
        resized: Image.Image = self.pipeline.image_processor.resize(picture, height, width)
        return resized


FAMILY = Family(
    pipeline=QwenImageEditPipeline,
    parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer", "processor"),
    adapt=QwenImageEdit,
)
