"""PixArt-Σ (Chen et al. 2024): a transformer that predicts noise, with T5's text and a mask of it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from diffusers import PixArtSigmaPipeline

from jobs.catalogue.entry import Model
from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec
from workers.families.diffusion.family import DiffusionFamily, for_each_image
from workers.families.diffusion.rows import Rows
from workers.families.diffusion.scheduled import Conditioning
from workers.families.family import Family
from workers.families.parts.embeddings import Embedding, EmbeddingCache

_MICRO_CONDITIONS = ("resolution", "aspect_ratio")


class PixArtSigma(DiffusionFamily):
    """
    Adapts a `PixArtSigmaPipeline`, which makes the very size that is asked (`use_resolution_binning` is off).

    Texts are filled up to one length, as its pipeline does, and are in lower case.

    Attributes:
        max_tokens: Of a text; what is longer is cut.
    """

    # Tokens that diffusers' pipeline takes of a prompt by itself.
    _own_max_tokens: ClassVar[int] = 300

    def __init__(self, entry: Model, pipeline: Any, cache: EmbeddingCache) -> None:
        super().__init__(entry, pipeline, cache)
        self.max_tokens = entry.max_sequence_length or self._own_max_tokens
        self._transformer = pipeline.transformer

    @property
    def guidance(self) -> Guidance:
        return "true"

    @property
    def side_multiple(self) -> int:
        """Latents are cut into patches."""
        return int(self.pipeline.vae_scale_factor * self._transformer.config.patch_size)

    def _encode_together(self, keys: list[Any]) -> list[Embedding]:
        encoded, mask, *_ = self.pipeline.encode_prompt(
            [text for text, _alone in keys],
            do_classifier_free_guidance=False,
            device=self._device,
            max_sequence_length=self.max_tokens,
        )
        return list(zip(encoded.split(1), mask.split(1), strict=True))

    def _condition(self, spec: GenerateSpec, embeddings: list[Embedding]) -> Conditioning:
        said = {"prompt": spec.prompt} | ({"negative_prompt": spec.negative_prompt} if self._is_guided(spec) else {})
        text = for_each_image(spec, embeddings, 0)
        return Conditioning(
            text=text,
            extra={"mask": for_each_image(spec, embeddings, 1), **self._micro_conditions(spec, text)},
            warnings=tuple(
                f"{name}: cut to {self.max_tokens} tokens, which {self.entry.name} takes"
                for name, each in said.items()
                if self._is_cut(each)
            ),
        )

    def _micro_conditions(self, spec: GenerateSpec, like: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        What the model is told of a picture's size, each (R, …): that of 1024 pixels of PixArt-α is.

        Args:
            like: Has R rows, and the device and dtype.
        """
        if not self._transformer.use_additional_conditions:
            return {}
        said = {"resolution": [spec.height, spec.width], "aspect_ratio": [spec.height / spec.width]}
        return {name: torch.tensor(values).to(like).expand(len(like), -1) for name, values in said.items()}

    def _is_cut(self, text: str) -> bool:
        [prepared] = self.pipeline._text_preprocessing(text)
        return len(self.pipeline.tokenizer(prepared, truncation=False, verbose=False).input_ids) > self.max_tokens

    def _forward(self, rows: Rows) -> torch.Tensor:
        predicted: torch.Tensor = self._transformer(
            rows.sample,
            encoder_hidden_states=rows.text,
            encoder_attention_mask=rows.extra["mask"],
            timestep=rows.timesteps,
            added_cond_kwargs={name: rows.extra.get(name) for name in _MICRO_CONDITIONS},
            return_dict=False,
        )[0]
        return predicted[
            :, : self._transformer.config.in_channels
        ]  # Behind these are variances, where it learned them.


FAMILY = Family(
    pipeline=PixArtSigmaPipeline,
    parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer"),
    adapt=PixArtSigma,
)
