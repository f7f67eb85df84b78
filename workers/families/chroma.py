"""Chroma: FLUX.1's transformer with true guidance and a mask of texts, and T5 alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import ChromaPipeline

from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec
from workers.families.family import Family
from workers.families.flow.family import FlowFamily
from workers.families.flow.rows import FlowRow, stack, timesteps
from workers.families.parts.embeddings import Embedding


class Chroma(FlowFamily):
    """
    Adapts a `ChromaPipeline`.

    Its mask is a number that is added to what tokens have of each other's attention: what is filled up has less, not
    none. So a text is always filled up to one length, as its pipeline does. One size a pass, for there is one set of
    position ids.
    """

    @property
    def guidance(self) -> Guidance:
        return "true"

    def _fixed_length(self) -> int:
        return self.max_tokens

    def _tokens(self, text: str) -> int:
        return len(self.pipeline.tokenizer(text).input_ids)

    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        packed: torch.Tensor = self.pipeline._pack_latents(latents, *latents.shape)
        return packed

    def _unpack(self, latents: torch.Tensor, spec: GenerateSpec) -> torch.Tensor:
        factor = self.pipeline.vae_scale_factor
        unpacked: torch.Tensor = self.pipeline._unpack_latents(latents, spec.height, spec.width, factor)
        return unpacked

    def _encode_texts(self, texts: list[str], length: int) -> list[Embedding]:
        encoded, _ids, mask, *_ = self.pipeline.encode_prompt(
            prompt=texts, device=self._text_device, do_classifier_free_guidance=False, max_sequence_length=length
        )
        return list(zip(encoded, mask, strict=True))

    def _forward(self, rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        samples, texts = stack([row.sample for row in rows]), stack([row.text[0] for row in rows])
        mask = stack([row.text[1] for row in rows])
        predicted: torch.Tensor = self._transformer(
            hidden_states=samples,
            timestep=timesteps(rows).to(self._dtype) / 1000,
            encoder_hidden_states=texts,
            txt_ids=texts.new_zeros(texts.shape[1], 3),
            img_ids=self._image_ids(rows[0]),
            attention_mask=torch.cat([mask, mask.new_ones(samples.shape[:2])], dim=1),
            return_dict=False,
        )[0]
        return list(predicted)

    def _image_ids(self, row: FlowRow) -> torch.Tensor:
        """(h · w / 4, 3): where each token is."""
        height, width = (side // self.side_multiple for side in row.size)
        ids: torch.Tensor = self.pipeline._prepare_latent_image_ids(1, height, width, self._device, self._dtype)
        return ids


FAMILY = Family(
    pipeline=ChromaPipeline, parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer"), adapt=Chroma
)
