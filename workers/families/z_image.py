"""Z-Image and Z-Image-Turbo: a language model's text, and pictures and texts of any size in one pass."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from diffusers import ZImagePipeline

from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec
from workers.families.family import Family
from workers.families.flow.edits import BY_STRENGTH
from workers.families.flow.family import FlowFamily
from workers.families.flow.rows import FlowRow, timesteps
from workers.families.parts.embeddings import Embedding


class ZImage(FlowFamily):
    """Adapts a `ZImagePipeline`."""

    _stepped = BY_STRENGTH

    @property
    def guidance(self) -> Guidance:
        return "true"

    def _alike(self, _spec: GenerateSpec) -> Hashable:
        """Nothing: the model takes lists, and keeps each picture and text to itself."""
        return None

    @property
    def _latents_dtype(self) -> torch.dtype:
        return torch.float32

    def _sigmas(self, steps: int) -> list[float]:
        sigmas: list[float] = torch.linspace(1.0, 1 / steps, steps).tolist()  # In single precision, as its pipeline.
        return sigmas

    def _guide(self, with_prompt: torch.Tensor, without: torch.Tensor, scale: float) -> torch.Tensor:
        """As the pipeline writes it: 0 is off, and g is what others call g + 1."""
        return with_prompt + scale * (with_prompt - without)

    def _tokens(self, text: str) -> int:
        return len(self.pipeline.tokenizer(self._chat(text)).input_ids)

    def _chat(self, text: str) -> str:
        chat: str = self.pipeline.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True, enable_thinking=True
        )
        return chat

    def _encode_texts(self, texts: list[str], length: int) -> list[Embedding]:
        # A list of its own, which the pipeline writes into.
        made, _ = self.pipeline.encode_prompt(
            prompt=list(texts),
            device=self._text_device,
            do_classifier_free_guidance=False,
            max_sequence_length=length,
        )
        return [(each,) for each in made]

    def _forward(self, rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        samples = [row.sample.to(self._dtype).unsqueeze(1) for row in rows]  # (C, 1, h, w): a film of one frame
        texts = [row.text[0] for row in rows]
        predicted = self._transformer(samples, (1000 - timesteps(rows)) / 1000, texts, return_dict=False)[0]
        return [-each.float().squeeze(1) for each in predicted]


FAMILY = Family(
    pipeline=ZImagePipeline,
    parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer"),
    adapt=ZImage,
)
