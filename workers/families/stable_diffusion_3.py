"""Stable Diffusion 3 and 3.5 (Esser et al. 2024): three text encoders, of which T5 may be left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import StableDiffusion3Pipeline

from jobs.catalogue.entry import Model
from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec
from workers.families.family import Family
from workers.families.flow.edits import BY_STRENGTH
from workers.families.flow.family import FlowFamily
from workers.families.flow.rows import FlowRow, stack, timesteps
from workers.families.parts.embeddings import Embedding, EmbeddingCache
from workers.families.parts.flow_schedules import calculate_shift


class StableDiffusion3(FlowFamily):
    """Adapts a `StableDiffusion3Pipeline`. CLIP reads 77 tokens of each text, T5 all that are taken."""

    _stepped = BY_STRENGTH
    _inpaints_from_noise = True
    _own_max_tokens = 256
    _most_tokens = 512

    def __init__(self, entry: Model, pipeline: Any, cache: EmbeddingCache) -> None:
        super().__init__(entry, pipeline, cache)
        self._t5_length = self.max_tokens
        if pipeline.text_encoder_3 is None:
            self.max_tokens = int(pipeline.tokenizer_max_length)

    @property
    def guidance(self) -> Guidance:
        return "true"

    def _fixed_length(self) -> int:
        return self._t5_length

    def _tokens(self, text: str) -> int:
        tokenizer = self.pipeline.tokenizer if self.pipeline.text_encoder_3 is None else self.pipeline.tokenizer_3
        return len(tokenizer(text).input_ids)

    def _sigmas(self, _steps: int) -> None:
        """The scheduler's own."""
        return

    def _mu(self, spec: GenerateSpec) -> float:
        _, height, width = self._latent_shape(spec)
        patch = self._transformer.config.patch_size
        return calculate_shift((height // patch) * (width // patch), self._own_scheduler, max_shift=1.16)

    def _encode_texts(self, texts: list[str], _length: int) -> list[Embedding]:
        encoded, _, pooled, _ = self.pipeline.encode_prompt(
            prompt=texts,
            prompt_2=None,
            prompt_3=None,
            device=self._text_device,
            do_classifier_free_guidance=False,
            max_sequence_length=self._t5_length,
        )
        return list(zip(encoded, pooled, strict=True))

    def _forward(self, rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        predicted: torch.Tensor = self._transformer(
            hidden_states=stack([row.sample for row in rows]),
            timestep=timesteps(rows),
            encoder_hidden_states=stack([row.text[0] for row in rows]),
            pooled_projections=stack([row.text[1] for row in rows]),
            return_dict=False,
        )[0]
        return list(predicted)


FAMILY = Family(
    pipeline=StableDiffusion3Pipeline,
    parts=("transformer", "vae", "scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"),
    adapt=StableDiffusion3,
)
