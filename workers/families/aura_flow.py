"""AuraFlow: UMT5's text, without a mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AuraFlowPipeline

from jobs.catalogue.families import Guidance
from workers.families.family import Family
from workers.families.flow.family import FlowFamily
from workers.families.flow.rows import FlowRow, stack, timesteps
from workers.families.parts.autoencoder import Decoder
from workers.families.parts.embeddings import Embedding


class AuraFlow(FlowFamily):
    """
    Adapts an `AuraFlowPipeline`.

    Its transformer sees the zeros that a text is filled up with: texts of one length, as its pipeline has them, and
    pictures of one size, which rules the embedding of positions.
    """

    _own_max_tokens = 256

    @property
    def guidance(self) -> Guidance:
        return "true"

    def _open_autoencoder(self) -> Decoder:
        vae = self.pipeline.vae
        if vae.dtype == torch.float16 and vae.config.force_upcast:  # That of SDXL, whose activations overflow.
            vae.to(torch.float32)
        return super()._open_autoencoder()

    def _sigmas(self, _steps: int) -> None:
        """The scheduler's own."""
        return

    def _fixed_length(self) -> int:
        return self.max_tokens

    def _tokens(self, text: str) -> int:
        return len(self.pipeline.tokenizer(text).input_ids)

    def _encode_texts(self, texts: list[str], length: int) -> list[Embedding]:
        encoded, *_ = self.pipeline.encode_prompt(
            prompt=texts, device=self._text_device, do_classifier_free_guidance=False, max_sequence_length=length
        )
        return [(each,) for each in encoded]

    def _forward(self, rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        predicted: torch.Tensor = self._transformer(
            stack([row.sample for row in rows]),
            encoder_hidden_states=stack([row.text[0] for row in rows]),
            timestep=(timesteps(rows) / 1000).to(self._dtype),
            return_dict=False,
        )[0]
        return list(predicted)


FAMILY = Family(
    pipeline=AuraFlowPipeline, parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer"), adapt=AuraFlow
)
