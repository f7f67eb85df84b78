"""Qwen-Image: a language model's text with a mask, and guidance that keeps the length of the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import QwenImagePipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput

from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec
from workers.families.family import Family
from workers.families.flow.edits import BY_STRENGTH
from workers.families.flow.family import FlowFamily
from workers.families.flow.references import with_references
from workers.families.flow.rows import FlowRow, stack, texts_padded, timesteps
from workers.families.parts.autoencoder import Autoencoder, Decoder, Statistics
from workers.families.parts.devices import device_of
from workers.families.parts.embeddings import Embedding


class QwenImageAutoencoder(Autoencoder):
    """An `AutoencoderKLQwenImage`, for which a picture is a film of one frame."""

    def __init__(self, vae: Any) -> None:
        super().__init__(vae, shows_masked=False)

    @property
    def channels(self) -> int:
        """Of latents."""
        return int(self._vae.config.z_dim)

    def _statistics_of(self) -> Statistics:
        mean, std = (
            torch.tensor(values, device=device_of(self._vae), dtype=self._vae.dtype).view(1, -1, 1, 1)
            for values in (self._vae.config.latents_mean, self._vae.config.latents_std)
        )
        return Statistics(mean=mean, scale=1.0 / std)

    def _encode(self, image: torch.Tensor) -> Any:
        parameters = super()._encode(image.unsqueeze(2)).latent_dist.parameters
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(parameters.squeeze(2)))

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        return super()._decode(latents.unsqueeze(2)).squeeze(2)


class QwenImage(FlowFamily):
    """
    Adapts a `QwenImagePipeline`. Texts of any length share a pass, pictures of one size.

    Not of one number of tokens: the first row's shape rules all position ids.
    """

    _stepped = BY_STRENGTH
    _own_max_tokens = 1024
    _most_tokens = 1024

    @property
    def guidance(self) -> Guidance:
        return "true"

    def _open_autoencoder(self) -> Decoder:
        return QwenImageAutoencoder(self.pipeline.vae)

    def _guide(self, with_prompt: torch.Tensor, without: torch.Tensor, scale: float) -> torch.Tensor:
        """Each token as long as it is with the prompt alone."""
        guided = super()._guide(with_prompt, without, scale)
        length = torch.norm(with_prompt, dim=-1, keepdim=True)
        return guided * (length / torch.norm(guided, dim=-1, keepdim=True))

    def _tokens(self, text: str) -> int:
        template = self.pipeline.prompt_template_encode.format(text)
        return len(self.pipeline.tokenizer(template).input_ids) - int(self.pipeline.prompt_template_encode_start_idx)

    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        packed: torch.Tensor = self.pipeline._pack_latents(latents, *latents.shape)
        return packed

    def _unpack(self, latents: torch.Tensor, spec: GenerateSpec) -> torch.Tensor:
        factor = self.pipeline.vae_scale_factor
        unpacked: torch.Tensor = self.pipeline._unpack_latents(latents, spec.height, spec.width, factor)
        return unpacked.squeeze(2)

    def _encode_texts(self, texts: list[str], _length: int) -> list[Embedding]:
        encoded, mask = self.pipeline.encode_prompt(
            prompt=texts, device=self._text_device, max_sequence_length=self.max_tokens
        )
        if mask is None:  # All are of one length.
            return [(each,) for each in encoded]
        return [(each[: int(kept.sum())],) for each, kept in zip(encoded, mask, strict=True)]

    def _forward(self, rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        texts, mask = texts_padded(rows)
        height, width = (side // self.side_multiple for side in rows[0].size)
        samples, references = stack([row.sample for row in rows]), rows[0].references
        sizes = [(height, width), *(references.sizes if references else ())]
        predicted: torch.Tensor = self._transformer(
            hidden_states=with_references(samples, [row.references for row in rows]),
            timestep=timesteps(rows).to(self._dtype) / 1000,
            encoder_hidden_states=texts,
            encoder_hidden_states_mask=None if mask.all() else mask,
            img_shapes=[[(1, *size) for size in sizes]] * len(rows),
            return_dict=False,
        )[0]
        return list(predicted[:, : samples.shape[1]])


FAMILY = Family(
    pipeline=QwenImagePipeline,
    parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer"),
    adapt=QwenImage,
)
