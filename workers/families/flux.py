"""FLUX.1: dev, whose guidance is an input of the model, and schnell, which has none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import FluxPipeline

from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec
from workers.families.family import Family
from workers.families.flow.edits import BY_STRENGTH
from workers.families.flow.family import FlowFamily
from workers.families.flow.rows import FlowRow, guidance_scales, stack, timesteps
from workers.families.parts.embeddings import Embedding


class Flux(FlowFamily):
    """
    Adapts a `FluxPipeline`.

    Its transformer has one set of position ids for all rows, and no mask of texts: one size and one text length a pass.
    """

    _stepped = BY_STRENGTH
    _keeps_flow_sigmas = True
    _most_tokens = 512

    @property
    def guidance(self) -> Guidance:
        return "embedded" if self._transformer.config.guidance_embeds else "none"

    def _fixed_length(self) -> int:
        return self.max_tokens

    def _tokens(self, text: str) -> int:
        return len(self.pipeline.tokenizer_2(text).input_ids)

    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        packed: torch.Tensor = self.pipeline._pack_latents(latents, *latents.shape)
        return packed

    def _unpack(self, latents: torch.Tensor, spec: GenerateSpec) -> torch.Tensor:
        factor = self.pipeline.vae_scale_factor
        unpacked: torch.Tensor = self.pipeline._unpack_latents(latents, spec.height, spec.width, factor)
        return unpacked

    def _encode_texts(self, texts: list[str], length: int) -> list[Embedding]:
        encoded, pooled, _ids = self.pipeline.encode_prompt(
            prompt=texts, prompt_2=None, device=self._text_device, max_sequence_length=length
        )
        return list(zip(encoded, pooled, strict=True))

    def _forward(self, rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        texts = stack([row.text[0] for row in rows])
        predicted: torch.Tensor = self._transformer(
            hidden_states=stack([row.sample for row in rows]),
            timestep=timesteps(rows).to(self._dtype) / 1000,
            guidance=guidance_scales(rows) if self.guidance == "embedded" else None,
            pooled_projections=stack([row.text[1] for row in rows]),
            encoder_hidden_states=texts,
            txt_ids=texts.new_zeros(texts.shape[1], 3),
            img_ids=self._image_ids(rows[0]),
            return_dict=False,
        )[0]
        return list(predicted)

    def _image_ids(self, row: FlowRow) -> torch.Tensor:
        """(h · w / 4, 3): where each token is."""
        height, width = (side // self.side_multiple for side in row.size)
        ids: torch.Tensor = self.pipeline._prepare_latent_image_ids(1, height, width, self._device, self._dtype)
        return ids


FAMILY = Family(
    pipeline=FluxPipeline,
    parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    adapt=Flux,
)
