"""Stable Diffusion 1.x and 2.x, and the built-in model: one text encoder, a UNet, an autoencoder."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from diffusers import StableDiffusionPipeline

from jobs.catalogue.entry import Model
from jobs.catalogue.families import Guidance
from jobs.errors import ErrorCode
from jobs.kinds.generate import GenerateSpec
from workers.engine.adapter import OnStep
from workers.engine.errors import GenerationFailed
from workers.families.family import Family, PictureFamily
from workers.families.parts.autoencoder import Autoencoder, check_finite
from workers.families.parts.cut import cut_texts
from workers.families.parts.edit_fields import check_strength
from workers.families.parts.embeddings import Embedding, EmbeddingCache
from workers.families.parts.schedulers import SchedulerCache, check_steps
from workers.families.unet.edited import EditRun
from workers.families.unet.rows import Rows, forward_in_parts, pack
from workers.families.unet.scheduled import Conditioning, ScheduledRun
from workers.runners.edit_work import Edit, Work, spec_of
from workers.runners.postprocess import Pixels


class StableDiffusion(PictureFamily[ScheduledRun]):
    """
    Adapts a `StableDiffusionPipeline`; its own `__call__` is not used, its parts are.

    Attributes:
        pipeline: On its device.
        cache: Of prompt embeddings.
    """

    _is_xl: ClassVar[bool] = False

    def __init__(self, entry: Model, pipeline: Any, cache: EmbeddingCache) -> None:
        super().__init__(entry)
        self.pipeline = pipeline
        self.cache = cache
        # Convolutions want channels last: on a CPU 6 % less for a step of 16 rows, 18 % less for a picture's decoding.
        for part in (pipeline.unet, pipeline.vae):
            part.to(memory_format=torch.channels_last)
        self._unet = pipeline.unet
        self._autoencoder = Autoencoder(pipeline.vae, is_xl=self._is_xl)
        self._schedulers = SchedulerCache(pipeline.scheduler)
        self._device = self._unet.device

    @torch.inference_mode()
    def encode(self, works: Sequence[Work]) -> list[Conditioning]:
        """Prompts longer than the tokenizer's length are cut, of which a run warns."""
        conditioned = self._encode_specs([spec_of(work) for work in works])
        return [
            replace(each, source=self._autoencoder.encode(work, self._latent_shape(work.spec)[1:]))
            if isinstance(work, Edit)
            else each
            for work, each in zip(works, conditioned, strict=True)
        ]

    def _encode_specs(self, specs: Sequence[GenerateSpec]) -> list[Conditioning]:
        together = [(text, False) for spec in specs if not spec.reproducible for text in self._texts(spec)]
        found = dict(zip(together, self.cache.get_many(together, self._encode_together), strict=True))
        for key in [(text, True) for spec in specs if spec.reproducible for text in self._texts(spec)]:
            found[key] = self.cache.get_many([key], self._encode_together)[0]  # Alone: see `forward_in_parts`.
        return [self._condition(spec, [found[text, spec.reproducible] for text in self._texts(spec)]) for spec in specs]

    @torch.inference_mode()
    def begin(self, work: Work, conditioning: Conditioning) -> ScheduledRun:
        """
        Draw the noise of each image.

        Raises:
            GenerationFailed: `invalid_request`, for what the model is not made for.
        """
        spec = spec_of(work)
        self._check(work)
        check_steps(spec, self.pipeline.scheduler)
        scheduler = self._schedulers.take(spec.scheduler, spec.num_inference_steps)
        conditioning = _on_this_stream(conditioning)
        shape, key = self._latent_shape(spec), f"{self.entry.name}@{self.entry.revision} {self.entry.dtype}"
        if not isinstance(work, Edit):
            return ScheduledRun(spec, scheduler, conditioning, latent_shape=shape, family_key=key)
        return EditRun(
            work,
            scheduler,
            conditioning,
            latent_shape=shape,
            family_key=key,
            has_picture_channels=self._has_picture_channels,
        )

    @torch.inference_mode()
    def predict(self, batch: Sequence[ScheduledRun], max_rows: int, _on_step: OnStep) -> list[torch.Tensor]:
        """One step's noise prediction for each job, (R, C, h, w)."""
        rows = pack([each.inputs() for each in batch])
        fixed = [fixed for each in batch if (fixed := self.fixed_rows(each)) is not None]
        exactly = min(max_rows, *fixed) if fixed else None
        predicted = forward_in_parts(rows, self._forward, max_rows=max_rows, exactly=exactly)
        return list(predicted.split([each.rows for each in batch]))

    @torch.inference_mode()
    def decode(self, run: ScheduledRun, max_images: int) -> list[Pixels]:
        """Image by image where the job is to be reproducible."""
        latents = run.latents
        check_finite(latents)
        parts = latents.split(1 if run.spec.reproducible else max_images)
        return run.keep([pixels for part in parts for pixels in self._autoencoder.decode(part)])

    def trial(self, run: ScheduledRun) -> ScheduledRun:
        """
        One image of it; a step costs the same at any timestep.

        Not reproducible, for the forwards of such a job have a number of rows of their own.
        """
        return run.one_image()

    @property
    def guidance(self) -> Guidance:
        """Models distilled with guidance (Meng et al. 2022) take it as an input, in place of a second row."""
        return "true" if self._unet.config.time_cond_proj_dim is None else "embedded"

    @property
    def side_multiple(self) -> int:
        """Latents are whole."""
        return int(self.pipeline.vae_scale_factor)

    def _texts(self, spec: GenerateSpec) -> list[Hashable]:
        return [spec.negative_prompt, spec.prompt] if self._is_guided(spec) else [spec.prompt]

    def _is_guided(self, spec: GenerateSpec) -> bool:
        return self.guidance == "true" and spec.guidance_scale > self.entry.traits.guided_above

    def _encode_together(self, keys: list[Any]) -> list[Embedding]:
        return [(text,) for text in self._encode_texts([text for text, _alone in keys]).split(1)]

    def _encode_texts(self, texts: list[str]) -> torch.Tensor:
        encoded, _ = self.pipeline.encode_prompt(
            prompt=texts, device=self._device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        return encoded

    def _condition(self, spec: GenerateSpec, embeddings: list[Embedding]) -> Conditioning:
        """Rows of each text in turn: all images without the prompt, then all with it."""
        text = torch.cat([embedding[0].expand(spec.n, -1, -1) for embedding in embeddings])
        said = {"prompt": spec.prompt} | ({"negative_prompt": spec.negative_prompt} if self._is_guided(spec) else {})
        warnings = cut_texts(said, self._tokenizers)
        return Conditioning(text=text, extra=self._extra(spec, embeddings), warnings=warnings)

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

    def _latent_shape(self, spec: GenerateSpec) -> tuple[int, int, int]:
        factor = self.pipeline.vae_scale_factor
        return (self._autoencoder.channels, spec.height // factor, spec.width // factor)

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


def _on_this_stream(conditioning: Conditioning) -> Conditioning:
    """Inform the allocator that the denoiser's stream uses what the encoder's stream made."""
    if conditioning.text.is_cuda:
        stream = torch.cuda.current_stream(conditioning.text.device)
        for tensor in conditioning.tensors():
            tensor.record_stream(stream)
    return conditioning


FAMILY = Family(
    pipeline=StableDiffusionPipeline,
    parts=("unet", "vae", "scheduler", "text_encoder", "tokenizer"),
    adapt=StableDiffusion,
)
