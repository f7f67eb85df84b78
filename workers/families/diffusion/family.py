"""The base of families of diffusion models: what differs between models is a method of theirs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

import torch

from jobs.catalogue.entry import Model
from jobs.errors import ErrorCode
from jobs.kinds.generate import GenerateSpec
from workers.engine.adapter import OnStep
from workers.engine.errors import GenerationFailed
from workers.families.diffusion.rows import Rows, forward_in_parts, pack
from workers.families.diffusion.scheduled import Conditioning, ScheduledRun
from workers.families.family import PictureFamily
from workers.families.parts.autoencoder import Autoencoder, check_finite
from workers.families.parts.devices import device_of
from workers.families.parts.embeddings import Embedding, EmbeddingCache
from workers.families.parts.schedulers import SchedulerCache, check_steps
from workers.runners.edit_work import Edit, Work, spec_of
from workers.runners.postprocess import Pixels


class DiffusionFamily(PictureFamily[ScheduledRun]):
    """
    Adapts a pipeline whose denoiser predicts noise; its own `__call__` is not used, its parts are.

    Attributes:
        pipeline: On its device.
        cache: Of prompt embeddings.
    """

    _is_xl: ClassVar[bool] = False

    def __init__(self, entry: Model, pipeline: Any, cache: EmbeddingCache) -> None:
        super().__init__(entry)
        self.pipeline = pipeline
        self.cache = cache
        # Convolutions want channels last: on a CPU 18 % less for a picture's decoding.
        pipeline.vae.to(memory_format=torch.channels_last)
        self._autoencoder = Autoencoder(pipeline.vae, is_xl=self._is_xl)
        self._schedulers = SchedulerCache(pipeline.scheduler)
        self._device: torch.device = device_of(pipeline.vae)

    # What a model has of its own.

    @abstractmethod
    def _forward(self, rows: Rows) -> torch.Tensor:
        """What the model predicts for these rows, (R, C, h, w)."""

    @abstractmethod
    def _encode_together(self, keys: list[Any]) -> list[Embedding]:
        """
        What texts are encoded to, each tensor with a batch of one.

        Args:
            keys: (text, whether it is to be encoded alone).
        """

    @abstractmethod
    def _condition(self, spec: GenerateSpec, embeddings: list[Embedding]) -> Conditioning:
        """
        Rows of each text in turn: all images without the prompt, then all with it.

        Args:
            embeddings: Of its `_texts`.
        """

    def _texts(self, spec: GenerateSpec) -> list[Hashable]:
        return [spec.negative_prompt, spec.prompt] if self._is_guided(spec) else [spec.prompt]

    def _is_guided(self, spec: GenerateSpec) -> bool:
        return self.guidance == "true" and spec.guidance_scale > self.entry.traits.guided_above

    # What all have in common.

    @torch.inference_mode()
    def encode(self, works: Sequence[Work]) -> list[Conditioning]:
        """Prompts longer than the model takes are cut, of which a run warns."""
        specs = [spec_of(work) for work in works]
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
        if isinstance(work, Edit):
            raise GenerationFailed(ErrorCode.INVALID_REQUEST, f"image: {self.entry.name} edits no pictures")
        check_steps(work, self.pipeline.scheduler)
        return ScheduledRun(
            work,
            self._schedulers.take(work.scheduler, work.num_inference_steps),
            on_this_stream(conditioning),
            latent_shape=self._latent_shape(work),
            family_key=self._key,
        )

    @torch.inference_mode()
    def predict(self, batch: Sequence[ScheduledRun], max_rows: int, _on_step: OnStep) -> list[torch.Tensor]:
        """One step's noise prediction for each job, (R, C, h, w)."""
        rows = pack([each.inputs() for each in batch])
        fixed = [fixed for each in batch if (fixed := self.fixed_rows(each)) is not None]
        exactly = min(max_rows, *fixed) if fixed else None
        predicted = forward_in_parts(rows, self._forward, max_rows=max_rows, exactly=exactly, compiled=self.compiled)
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
    def side_multiple(self) -> int:
        """Latents are whole."""
        return int(self.pipeline.vae_scale_factor)

    @property
    def _key(self) -> str:
        return f"{self.entry.name}@{self.entry.revision} {self.entry.loaded_as}"

    def _latent_shape(self, spec: GenerateSpec) -> tuple[int, int, int]:
        factor = self.pipeline.vae_scale_factor
        return (self._autoencoder.channels, spec.height // factor, spec.width // factor)


def for_each_image(spec: GenerateSpec, embeddings: Sequence[Embedding], of: int) -> torch.Tensor:
    """
    Rows of each text in turn, as many as the job has images.

    Args:
        of: Which tensor of an embedding.
    """
    return torch.cat([each[of].expand(spec.n, *each[of].shape[1:]) for each in embeddings])


def on_this_stream(conditioning: Conditioning) -> Conditioning:
    """Inform the allocator that the denoiser's stream uses what the encoder's stream made."""
    if conditioning.text.is_cuda:
        stream = torch.cuda.current_stream(conditioning.text.device)
        for tensor in conditioning.tensors():
            tensor.record_stream(stream)
    return conditioning
