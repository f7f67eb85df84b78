"""Lumina-Image 2: Gemma's text with a mask, and guidance that keeps the length of the prediction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import Lumina2Pipeline

from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec
from workers.families.family import Family
from workers.families.flow.family import FlowFamily
from workers.families.flow.rows import FlowRow, stack, texts_padded, timesteps
from workers.families.parts.embeddings import Embedding
from workers.families.parts.flow_schedules import calculate_shift


class Lumina2(FlowFamily):
    """
    Adapts a `Lumina2Pipeline`. Texts of any length share a pass, pictures of one size.

    Its pipeline puts words of its own before a prompt, and none before what stands beside it. Guidance is on at every
    step, as where `cfg_trunc_ratio` is left out.
    """

    _own_max_tokens = 256

    @property
    def guidance(self) -> Guidance:
        return "true"

    def _mu(self, _spec: GenerateSpec) -> float:
        """Diffusers 0.42.1 takes the channels of latents for the number of tokens, so it is one for all sizes."""
        return calculate_shift(self._transformer.config.in_channels, self._own_scheduler)

    def _guide(self, with_prompt: torch.Tensor, without: torch.Tensor, scale: float) -> torch.Tensor:
        """Each row of latents as long as it is with the prompt alone (`cfg_normalization`)."""
        guided = super()._guide(with_prompt, without, scale)
        length = torch.norm(with_prompt, dim=-1, keepdim=True)
        return guided * (length / torch.norm(guided, dim=-1, keepdim=True))

    def _texts(self, spec: GenerateSpec) -> list[str]:
        prompt, *others = super()._texts(spec)
        return [f"{self.pipeline.system_prompt} <Prompt Start> {prompt}", *others]

    def _tokens(self, text: str) -> int:
        return len(self.pipeline.tokenizer(text).input_ids)

    def _encode_texts(self, texts: list[str], length: int) -> list[Embedding]:
        encoded, mask = self.pipeline._get_gemma_prompt_embeds(
            texts, device=self._text_device, max_sequence_length=length
        )
        return [(each[: int(kept.sum())],) for each, kept in zip(encoded, mask, strict=True)]

    def _forward(self, rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        texts, mask = texts_padded(rows)
        predicted: torch.Tensor = self._transformer(
            hidden_states=stack([row.sample for row in rows]),
            timestep=1 - timesteps(rows) / self._own_scheduler.config.num_train_timesteps,
            encoder_hidden_states=texts,
            encoder_attention_mask=mask,
            return_dict=False,
        )[0]
        return list(-predicted)  # It predicts from noise to picture.


FAMILY = Family(
    pipeline=Lumina2Pipeline, parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer"), adapt=Lumina2
)
