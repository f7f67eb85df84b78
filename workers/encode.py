"""Encode: the prompt becomes embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from jobs.spec import JobSpec
from workers.models import LoadedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """
    What the UNet is conditioned on.

    Attributes:
        prompt: (1, T, D), the model's dtype, on its device.
        negative: The same of the negative prompt; None without guidance.
    """

    prompt: torch.Tensor
    negative: torch.Tensor | None


@torch.inference_mode()
def encode(model: LoadedModel, spec: JobSpec) -> Embeddings:
    """Run the text encoder over prompt and, with guidance, negative prompt. Longer prompts than T tokens are cut."""
    prompt, negative = model.pipeline.encode_prompt(
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        device=model.device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=spec.guidance_scale > 1,
    )
    return Embeddings(prompt=prompt, negative=negative)
