"""FLUX.2 klein: Qwen3's text; base models with true guidance against an empty text, distilled ones without any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from diffusers import Flux2KleinPipeline

from jobs.catalogue.entry import Edited, WayToEdit
from jobs.catalogue.families import Guidance
from workers.families.family import Family
from workers.families.flux2 import Flux2


class Flux2Klein(Flux2):
    """Adapts a `Flux2KleinPipeline`."""

    _stepped: ClassVar[Mapping[Edited, WayToEdit]] = {"image": "instruction", "mask": "strength"}

    @property
    def guidance(self) -> Guidance:
        return "none" if self.pipeline.config.is_distilled else "true"

    def _tokens(self, text: str) -> int:
        chat = self.pipeline.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return len(self.pipeline.tokenizer(chat).input_ids)


FAMILY = Family(
    pipeline=Flux2KleinPipeline,
    parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer"),
    adapt=Flux2Klein,
)
