"""Stable Diffusion XL: two text encoders, and the picture's size as a condition (Podell et al. 2023, section 2.2)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline

from jobs.kinds.generate import GenerateSpec
from workers.families.diffusion.family import for_each_image
from workers.families.family import Family
from workers.families.parts.embeddings import Embedding
from workers.families.stable_diffusion import StableDiffusion


class StableDiffusionXL(StableDiffusion):
    """Adapts a `StableDiffusionXLPipeline`."""

    _is_xl = True

    @property
    def _tokenizers(self) -> tuple[Any, ...]:
        found = (self.pipeline.tokenizer, self.pipeline.tokenizer_2)
        return tuple(each for each in found if each is not None)  # The refiner has the second alone.

    def _texts(self, spec: GenerateSpec) -> list[Hashable]:
        # Without a negative prompt, SDXL is conditioned on zeros rather than on an empty text.
        negative = spec.negative_prompt or (None if self.pipeline.config.force_zeros_for_empty_prompt else "")
        return [negative, spec.prompt] if self._is_guided(spec) else [spec.prompt]

    def _encode_together(self, keys: list[Any]) -> list[Embedding]:
        texts = [text for text, _alone in keys if text is not None] or [""]
        encoded, _, pooled, _ = self.pipeline.encode_prompt(
            prompt=texts, device=self._device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        made: dict[Any, Embedding] = dict(zip(texts, zip(encoded.split(1), pooled.split(1), strict=True), strict=True))
        zeros = (torch.zeros_like(encoded[:1]), torch.zeros_like(pooled[:1]))
        return [zeros if text is None else made[text] for text, _alone in keys]

    def _extra(self, spec: GenerateSpec, embeddings: list[Embedding]) -> dict[str, torch.Tensor]:
        pooled = for_each_image(spec, embeddings, 1)
        size = (spec.height, spec.width)
        # Original size, crop corner, target size.
        ids = torch.tensor([[*size, 0, 0, *size]], device=pooled.device, dtype=pooled.dtype)
        return super()._extra(spec, embeddings) | {"text_embeds": pooled, "time_ids": ids.repeat(len(pooled), 1)}


FAMILY = Family(
    pipeline=StableDiffusionXLPipeline,
    parts=("unet", "vae", "scheduler", "text_encoder_2", "tokenizer_2"),
    adapt=StableDiffusionXL,
)
