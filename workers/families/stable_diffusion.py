"""Stable Diffusion 1.x and 2.x, and the built-in model: one text encoder, a UNet, an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from jobs.catalogue.entry import Model
from jobs.catalogue.families import Guidance
from jobs.errors import ErrorCode
from jobs.kinds.generate import GenerateSpec
from workers.engine.errors import GenerationFailed
from workers.families.diffusion.edited import EditRun
from workers.families.diffusion.family import DiffusionFamily, for_each_image, on_this_stream
from workers.families.diffusion.rows import Rows
from workers.families.diffusion.scheduled import Conditioning, ScheduledRun
from workers.families.family import Family
from workers.families.parts.cut import cut_texts
from workers.families.parts.edit_fields import check_strength
from workers.families.parts.embeddings import Embedding, EmbeddingCache
from workers.families.parts.safety import check_safety
from workers.families.parts.schedulers import check_steps
from workers.runners.edit_work import Edit, Work, edit_of_gray
from workers.runners.postprocess import Pixels


class StableDiffusion(DiffusionFamily):
    """Adapts a `StableDiffusionPipeline`."""

    def __init__(self, entry: Model, pipeline: Any, cache: EmbeddingCache) -> None:
        super().__init__(entry, pipeline, cache)
        # As for the autoencoder: 6 % less for a step of 16 rows.
        self._unet = pipeline.unet.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def encode(self, works: Sequence[Work]) -> list[Conditioning]:
        """With the pictures of edits."""
        return [
            replace(each, source=self._autoencoder.encode(work, self._latent_shape(work.spec)[1:]))
            if isinstance(work, Edit)
            else each
            for work, each in zip(works, super().encode(works), strict=True)
        ]

    def work_to_try(self, spec: GenerateSpec) -> Work:
        """A masked edit, where the model does nothing else."""
        return edit_of_gray(spec, is_masked=True) if self._has_picture_channels else spec

    @torch.inference_mode()
    def begin(self, work: Work, conditioning: Conditioning) -> ScheduledRun:
        """As of all, and of an edit with its picture."""
        self._check(work)
        if not isinstance(work, Edit):
            return super().begin(work, conditioning)
        spec = work.spec
        check_steps(spec, self.pipeline.scheduler)
        return EditRun(
            work,
            self._schedulers.take(spec.scheduler, spec.num_inference_steps),
            on_this_stream(conditioning),
            latent_shape=self._latent_shape(spec),
            family_key=self._key,
            has_picture_channels=self._has_picture_channels,
        )

    @torch.inference_mode()
    def decode(self, run: ScheduledRun, max_images: int) -> list[Pixels]:
        """
        As of all, and looked at by the safety checker, where the entry has one.

        Raises:
            GenerationFailed: `invalid_output`, where it withholds a picture.
        """
        pixels = super().decode(run, max_images)
        if self.entry.safety_checker:
            check_safety(pixels, self.pipeline, self._device)
        return pixels

    @property
    def guidance(self) -> Guidance:
        """Models distilled with guidance (Meng et al. 2022) take it as an input, in place of a second row."""
        return "true" if self._unet.config.time_cond_proj_dim is None else "embedded"

    def _encode_together(self, keys: list[Any]) -> list[Embedding]:
        return [(text,) for text in self._encode_texts([text for text, _alone in keys]).split(1)]

    def _encode_texts(self, texts: list[str]) -> torch.Tensor:
        encoded, _ = self.pipeline.encode_prompt(
            prompt=texts, device=self._device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        return encoded

    def _condition(self, spec: GenerateSpec, embeddings: list[Embedding]) -> Conditioning:
        said = {"prompt": spec.prompt} | ({"negative_prompt": spec.negative_prompt} if self._is_guided(spec) else {})
        return Conditioning(
            text=for_each_image(spec, embeddings, 0),
            extra=self._extra(spec, embeddings),
            warnings=cut_texts(said, self._tokenizers),
        )

    @property
    def _tokenizers(self) -> tuple[Any, ...]:
        return (self.pipeline.tokenizer,)

    def _extra(self, spec: GenerateSpec, _embeddings: list[Embedding]) -> dict[str, torch.Tensor]:
        width = self._unet.config.time_cond_proj_dim
        if width is None:
            return {}
        scale = torch.tensor([spec.guidance_scale - 1.0]).repeat(spec.n)
        embedded = self.pipeline.get_guidance_scale_embedding(scale, embedding_dim=width)
        return {"timestep_cond": embedded.to(self._device, self._unet.dtype)}

    @property
    def _has_picture_channels(self) -> bool:
        """Whether the model was made for inpainting: it takes latents, a mask, and the latents of a masked picture."""
        return int(self._unet.config.in_channels) == 2 * self._autoencoder.channels + 1

    def _check(self, work: Work) -> None:
        name, edit = self.entry.name, work if isinstance(work, Edit) else None
        if self._has_picture_channels and (edit is None or edit.mask is None):
            raise GenerationFailed(ErrorCode.INVALID_REQUEST, f"mask: {name} only repaints a masked part of a picture")
        if edit is not None:
            check_strength(edit.spec, self.entry)

    def _forward(self, rows: Rows) -> torch.Tensor:
        extra = dict(rows.extra)
        timestep_cond = extra.pop("timestep_cond", None)
        return self._unet(
            rows.sample,
            rows.timesteps,
            encoder_hidden_states=rows.text,
            timestep_cond=timestep_cond,
            added_cond_kwargs=extra or None,
            return_dict=False,
        )[0]


FAMILY = Family(
    pipeline=StableDiffusionPipeline,
    parts=("unet", "vae", "scheduler", "text_encoder", "tokenizer"),
    adapt=StableDiffusion,
)
