"""Sana: Gemma's text with an instruction before it, and a deep-compression autoencoder."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import SanaPipeline

from jobs.catalogue.entry import Model
from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec
from workers.families.family import Family
from workers.families.flow.family import FlowFamily
from workers.families.flow.rows import FlowRow, stack, texts_padded, timesteps
from workers.families.parts.embeddings import Embedding, EmbeddingCache

_SIDES = 32  # pixels: what its pipelines check, whatever the autoencoder makes of it


class Sana(FlowFamily):
    """
    Adapts a `SanaPipeline`, which makes the very size that is asked (`use_resolution_binning` is off).

    Texts of any length share a pass, pictures of one size. Before a prompt stands an instruction, of whose tokens the
    model is given the first alone; before what stands beside it there is none. Its texts are in lower case.
    """

    _own_max_tokens = 300
    # Beside the texts, of `encode_prompt`.
    _asked: ClassVar[dict[str, Any]] = {"do_classifier_free_guidance": False}

    def __init__(self, entry: Model, pipeline: Any, cache: EmbeddingCache) -> None:
        said = inspect.signature(pipeline.__call__).parameters["complex_human_instruction"].default
        self._said: list[str] = said
        self._instruction = "\n".join(said)
        self._instruction_tokens = len(pipeline.tokenizer.encode(self._instruction))
        super().__init__(entry, pipeline, cache)

    @property
    def guidance(self) -> Guidance:
        return "true"

    @property
    def side_multiple(self) -> int:
        """Latents are cut into patches."""
        return math.lcm(_SIDES, int(self.pipeline.vae_scale_factor * self._transformer.config.patch_size))

    @property
    def _latents_dtype(self) -> torch.dtype:
        return torch.float32

    def _sigmas(self, _steps: int) -> list[float] | None:
        """The scheduler's own."""
        return None

    def _texts(self, spec: GenerateSpec) -> list[str]:
        """The instruction has capitals, and no other text does: see `_encode_texts`."""
        prompt, *others = self.pipeline._text_preprocessing(super()._texts(spec))
        return [self._instruction + prompt, *others]

    def _tokens(self, text: str) -> int:
        tokens = len(self.pipeline.tokenizer(text).input_ids)
        return tokens - self._instruction_tokens + 2 if text.startswith(self._instruction) else tokens

    def _encode_texts(self, texts: list[str], length: int) -> list[Embedding]:
        made: dict[str, Embedding] = {}
        prompts = [text for text in texts if text.startswith(self._instruction)]
        for group, said in ((prompts, self._said), ([text for text in texts if text not in prompts], None)):
            if group:
                bare = [text.removeprefix(self._instruction) if said else text for text in group]
                made |= zip(group, self._encode_alike(bare, length, said), strict=True)
        return [made[text] for text in texts]

    def _encode_alike(self, texts: list[str], length: int, said: list[str] | None) -> list[Embedding]:
        """
        Encode texts that are all prompts, or all beside one.

        Args:
            said: The instruction, of prompts.
        """
        encoded, mask, *_ = self.pipeline.encode_prompt(
            texts,
            device=self._text_device,
            max_sequence_length=length,
            complex_human_instruction=said,
            **self._asked,
        )
        return [(each[kept.bool()],) for each, kept in zip(encoded, mask, strict=True)]

    def _forward(self, rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        predicted = self._transform(
            rows,
            stack([row.sample for row in rows]),
            timestep=timesteps(rows) * self._transformer.config.timestep_scale,
        )
        channels = self._transformer.config.in_channels
        return list(predicted[:, :channels].float())  # Behind these are variances, where it learned them.

    def _transform(self, rows: Sequence[FlowRow], samples: torch.Tensor, **given: Any) -> torch.Tensor:
        """The transformer's output for samples of these rows."""
        texts, mask = texts_padded(rows)
        predicted: torch.Tensor = self._transformer(
            samples.to(self._dtype),
            encoder_hidden_states=texts.to(self._dtype),
            encoder_attention_mask=mask,
            return_dict=False,
            **given,
        )[0]
        return predicted


FAMILY = Family(
    pipeline=SanaPipeline, parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer"), adapt=Sana
)
