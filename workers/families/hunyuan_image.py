"""HunyuanImage 2.1: two text encoders, one of them for letters, and guidance that goes by the steps before."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import HunyuanImagePipeline

from jobs.catalogue.entry import Model
from jobs.catalogue.families import Guidance
from jobs.errors import InvalidConfiguration
from workers.families.diffusers import WholePipeline
from workers.families.family import Family
from workers.families.flow.family import FlowFamily
from workers.families.flow.rows import FlowRow, guidance_scales, stack, texts_padded, timesteps
from workers.families.flow.run import FlowConditioning, Guide
from workers.families.parts.embeddings import Embedding, EmbeddingCache


class HunyuanImage(FlowFamily):
    """
    Adapts a `HunyuanImagePipeline`. Texts of any length share a pass, pictures of one size.

    The model that is not distilled is guided by a component, a mix of classifier-free and adaptive projected guidance
    (Sadat et al. 2024), which remembers the steps before: each job has its own. It has no guidance up to a scale of 1.
    """

    _own_max_tokens = 1000

    def __init__(self, entry: Model, pipeline: Any, cache: EmbeddingCache) -> None:
        super().__init__(entry, pipeline, cache)
        has_others = pipeline.ocr_guider is not None and pipeline.guider is None
        if has_others or (self._is_distilled and pipeline.guider is not None):
            raise InvalidConfiguration(
                f'model {entry.name}: its guiders are not those of HunyuanImage 2.1: set family = "diffusers" of '
                f"[models.{entry.name}] in models.toml"
            )

    @property
    def _is_distilled(self) -> bool:
        return bool(self._transformer.config.guidance_embeds)

    @property
    def guidance(self) -> Guidance:
        if self._is_distilled:
            return "embedded"
        return "none" if self.pipeline.guider is None else "true"

    @property
    def side_multiple(self) -> int:
        """A token is a latent."""
        return int(self.pipeline.vae_scale_factor * self._transformer.config.patch_size[-1])

    def _open_whole(self) -> WholePipeline:
        """Its call takes no length of texts, and edits nothing."""
        return WholePipeline(self.entry.model_copy(update={"max_sequence_length": None}), self.pipeline)

    def _sigmas(self, steps: int) -> list[float]:
        sigmas: list[float] = np.linspace(1.0, 0.0, steps + 1)[:-1].tolist()  # As its pipeline, to the last bit.
        return sigmas

    def _guide_of(self, conditioning: FlowConditioning, passes: int) -> Guide:
        ocr = self.pipeline.ocr_guider if len(conditioning.prompt[1]) else None
        guider = ocr or self.pipeline.guider
        return self._guide if guider is None else JobGuider(guider, passes)

    def _tokens(self, text: str) -> int:
        template = self.pipeline.prompt_template_encode.format(text)
        return len(self.pipeline.tokenizer(template).input_ids) - int(self.pipeline.prompt_template_encode_start_idx)

    def _encode_texts(self, texts: list[str], length: int) -> list[Embedding]:
        """The second is of what stands in quotation marks, (T, D), and empty where nothing does."""
        pipeline = self.pipeline
        encoded, mask = pipeline._get_qwen_prompt_embeds(
            pipeline.tokenizer,
            pipeline.text_encoder,
            texts,
            device=self._text_device,
            tokenizer_max_length=length,
            template=pipeline.prompt_template_encode,
            drop_idx=pipeline.prompt_template_encode_start_idx,
        )
        parts = pipeline.encode_prompt(
            texts, self._text_device, len(texts), prompt_embeds=encoded, prompt_embeds_mask=mask
        )
        return [
            (text[kept.bool()].to(self._dtype), letters[shown.bool()].to(self._dtype))
            for text, kept, letters, shown in zip(*parts, strict=True)
        ]

    def _forward(self, rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        texts, mask = texts_padded(rows)
        letters, mask_of_letters = texts_padded(rows, of=1)
        config = self._transformer.config
        following = torch.tensor([row.next_timestep for row in rows]).to(texts)
        predicted: torch.Tensor = self._transformer(
            hidden_states=stack([row.sample for row in rows]),
            timestep=timesteps(rows).to(self._dtype),
            timestep_r=following if config.use_meanflow else None,
            guidance=guidance_scales(rows).to(self._dtype) * 1000 if config.guidance_embeds else None,
            encoder_hidden_states=texts,
            encoder_attention_mask=mask,
            encoder_hidden_states_2=letters,
            encoder_attention_mask_2=mask_of_letters,
            return_dict=False,
        )[0]
        return list(predicted)


class JobGuider:
    """
    A guider of diffusers for one job, whose images it guides each by itself.

    Args:
        guider: Of the pipeline; it is copied.
        passes: Of the job.
    """

    def __init__(self, guider: Any, passes: int) -> None:
        self._guider = copy.copy(guider)
        self._passes = passes
        self._done = 0

    def __call__(self, with_prompt: torch.Tensor, without: torch.Tensor, scale: float) -> torch.Tensor:
        """Of the next pass."""
        guider = self._guider
        guider.guidance_scale = scale
        guider.set_state(step=self._done, num_inference_steps=self._passes, timestep=None)
        guider.prepare_inputs({})  # At the first step it forgets what was before.
        self._done += 1
        guided: torch.Tensor = guider.forward(with_prompt, without).pred
        return guided


FAMILY = Family(
    pipeline=HunyuanImagePipeline,
    parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    adapt=HunyuanImage,
)
