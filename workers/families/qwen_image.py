"""Qwen-Image: a language model's text with a mask, and guidance that keeps the length of the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import QwenImagePipeline

from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec
from workers.families.family import Family
from workers.families.flow.family import Decoder, FlowFamily
from workers.families.flow.rows import FlowRow, stack, texts_padded, timesteps
from workers.families.parts.autoencoder import to_pixels
from workers.families.parts.embeddings import Embedding
from workers.runners.postprocess import Pixels


class QwenImageDecoder:
    """Of an `AutoencoderKLQwenImage`, for which a picture is a film of one frame."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        mean, std = torch.tensor(vae.config.latents_mean), torch.tensor(vae.config.latents_std)
        self._mean, self._std = mean.view(1, -1, 1, 1), std.view(1, -1, 1, 1)

    @property
    def channels(self) -> int:
        """Of latents."""
        return int(self._vae.config.z_dim)

    def decode(self, latents: torch.Tensor) -> list[Pixels]:
        """The pictures of latents, (n, C, h, w)."""
        latents = latents.to(self._vae.dtype)
        latents = latents * self._std.to(latents) + self._mean.to(latents)
        return to_pixels(self._vae.decode(latents.unsqueeze(2), return_dict=False)[0].squeeze(2))


class QwenImage(FlowFamily):
    """
    Adapts a `QwenImagePipeline`. Texts of any length share a pass, pictures of one size.

    Not of one number of tokens: the first row's shape rules all position ids.
    """

    _own_max_tokens = 1024
    _most_tokens = 1024

    @property
    def guidance(self) -> Guidance:
        return "true"

    def _open_autoencoder(self) -> Decoder:
        return QwenImageDecoder(self.pipeline.vae)

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
        predicted: torch.Tensor = self._transformer(
            hidden_states=stack([row.sample for row in rows]),
            timestep=timesteps(rows).to(self._dtype) / 1000,
            encoder_hidden_states=texts,
            encoder_hidden_states_mask=None if mask.all() else mask,
            img_shapes=[[(1, height, width)]] * len(rows),
            return_dict=False,
        )[0]
        return list(predicted)


FAMILY = Family(
    pipeline=QwenImagePipeline,
    parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer"),
    adapt=QwenImage,
)
