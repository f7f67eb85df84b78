"""Qwen-Image-Edit-Plus, published as Qwen-Image-Edit-2509 and later: it looks at several pictures."""

from __future__ import annotations

from typing import Any

from diffusers import QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import CONDITION_IMAGE_SIZE
from PIL import Image

from workers.families.family import Family
from workers.families.flow.references import seen_by_field
from workers.families.qwen_image_edit import QwenImageEdit
from workers.runners.edit_work import Edit


class QwenImageEditPlus(QwenImageEdit):
    """Adapts a `QwenImageEditPlusPipeline`. Its language model reads smaller pictures than its transformer looks at."""

    def _read_pictures(self, edit: Edit) -> Any:
        pictures = [Image.fromarray(pixels) for pixels in seen_by_field(edit, self.entry).values()]
        return [self._resized(each, CONDITION_IMAGE_SIZE) for each in pictures]


FAMILY = Family(
    pipeline=QwenImageEditPlusPipeline,
    parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer", "processor"),
    adapt=QwenImageEditPlus,
)
