"""Krea 2: several layers of a language model's text with a mask, and Qwen-Image's autoencoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import Krea2Pipeline

from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec
from workers.families.family import Family
from workers.families.flow.family import FlowFamily
from workers.families.flow.rows import FlowRow, stack, texts_padded, timesteps
from workers.families.parts.autoencoder import Decoder
from workers.families.parts.embeddings import Embedding
from workers.families.parts.flow_schedules import calculate_shift
from workers.families.qwen_image import QwenImageAutoencoder

_MU_OF_DISTILLED = 1.15


class Krea2(FlowFamily):
    """
    Adapts a `Krea2Pipeline`. Texts of any length share a pass, for tokens of texts have no place; pictures of one size.

    Its pipeline fills a text up before the template's end. What is filled up is masked wherever it stands, so it is cut
    out of what is encoded.
    """

    @property
    def guidance(self) -> Guidance:
        return "true"

    @property
    def side_multiple(self) -> int:
        """Latents are cut into patches."""
        return int(self.pipeline.vae_scale_factor * self.pipeline.patch_size)

    @property
    def _latents_dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.pipeline.text_encoder.dtype  # Norms of the transformer are in 32 bits.
        return dtype

    def _open_autoencoder(self) -> Decoder:
        return QwenImageAutoencoder(self.pipeline.vae)

    def _mu(self, spec: GenerateSpec) -> float:
        if self.pipeline.config.is_distilled:
            return _MU_OF_DISTILLED
        tokens = (spec.height // self.side_multiple) * (spec.width // self.side_multiple)
        return calculate_shift(tokens, self._own_scheduler, max_image_seq_len=6400)

    def _guide(self, with_prompt: torch.Tensor, without: torch.Tensor, scale: float) -> torch.Tensor:
        """As the pipeline writes it: 0 is off, and g is what others call g + 1."""
        return with_prompt + scale * (with_prompt - without)

    def _tokens(self, text: str) -> int:
        pipeline = self.pipeline
        whole = len(pipeline.tokenizer(pipeline.prompt_template_encode_prefix + text).input_ids)
        before, behind = pipeline.prompt_template_encode_start_idx, pipeline.prompt_template_encode_num_suffix_tokens
        return int(whole - before + behind)

    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        packed: torch.Tensor = self.pipeline._pack_latents(latents, *latents.shape)
        return packed

    def _unpack(self, latents: torch.Tensor, spec: GenerateSpec) -> torch.Tensor:
        unpacked: torch.Tensor = self.pipeline._unpack_latents(latents, spec.height, spec.width)
        return unpacked.squeeze(2)

    def _encode_texts(self, texts: list[str], length: int) -> list[Embedding]:
        """Each (T, layers, D)."""
        encoded, mask = self.pipeline.encode_prompt(texts, device=self._text_device, max_sequence_length=length)
        return [(each[kept],) for each, kept in zip(encoded, mask, strict=True)]

    def _forward(self, rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        texts, mask = texts_padded(rows)
        predicted: torch.Tensor = self._transformer(
            hidden_states=stack([row.sample for row in rows]),
            encoder_hidden_states=texts,
            timestep=(timesteps(rows) / self._own_scheduler.config.num_train_timesteps).to(self._latents_dtype),
            position_ids=self._position_ids(rows[0], texts.shape[1]),
            encoder_attention_mask=mask,
            return_dict=False,
        )[0]
        return list(predicted)

    def _position_ids(self, row: FlowRow, length: int) -> torch.Tensor:
        """(length + h · w / 4, 3): where each token is; those of texts are all at one place."""
        height, width = (side // self.side_multiple for side in row.size)
        ids: torch.Tensor = self.pipeline.prepare_position_ids(length, height, width, self._device)
        return ids


FAMILY = Family(
    pipeline=Krea2Pipeline, parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer"), adapt=Krea2
)
