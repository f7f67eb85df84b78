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
from workers.families.flow.references import with_references
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
        samples = stack([row.sample for row in rows])
        texts = stack([row.text[0] for row in rows])
        predicted: torch.Tensor = self._transformer(
            hidden_states=with_references(samples, [row.references for row in rows]),
            timestep=timesteps(rows).to(self._dtype) / 1000,
            guidance=guidance_scales(rows) if self.guidance == "embedded" else None,
            pooled_projections=stack([row.text[1] for row in rows]),
            encoder_hidden_states=texts,
            txt_ids=texts.new_zeros(texts.shape[1], 3),
            img_ids=self._image_ids(rows[0]),
            return_dict=False,
        )[0]
        return list(predicted[:, : samples.shape[1]])

    def _image_ids(self, row: FlowRow) -> torch.Tensor:
        """(T, 3): where each token is; plane, row, column. What is looked at is in the plane behind."""
        height, width = (side // self.side_multiple for side in row.size)
        planes = [(0, (height, width)), *((1, size) for size in (row.references.sizes if row.references else ()))]
        return torch.cat([self._plane(plane, size) for plane, size in planes])

    def _plane(self, plane: int, size: tuple[int, int]) -> torch.Tensor:
        ids: torch.Tensor = self.pipeline._prepare_latent_image_ids(1, *size, self._device, self._dtype)
        ids[..., 0] = plane
        return ids


FAMILY = Family(
    pipeline=FluxPipeline,
    parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    adapt=Flux,
)
