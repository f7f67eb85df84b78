"""A job that a scheduler moves from noise to latents, one step at a time."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Self

import torch
from diffusers.utils.torch_utils import randn_tensor

from jobs.kinds.generate import GenerateSpec
from workers.families.autoencoder import Source
from workers.families.family import PictureRun
from workers.families.rows import Rows
from workers.families.size_class import size_class
from workers.runners.postprocess import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """
    What a job is conditioned on, for its R rows: without the prompt first where there is guidance, then with it.

    Attributes:
        text: (R, T, D).
        extra: As in `Rows`.
        source: The picture that is edited, of an edit.
        warnings: As of `PictureRun`.
    """

    text: torch.Tensor
    extra: dict[str, torch.Tensor]
    source: Source | None = None
    warnings: tuple[str, ...] = ()

    def tensors(self) -> list[torch.Tensor]:
        """All that it has on the device."""
        return [self.text, *self.extra.values(), *(self.source.tensors() if self.source is not None else ())]


class ScheduledRun(PictureRun):
    """
    The images of one job, each with its own generator, under a scheduler of their own.

    Attributes:
        latents: (n, C, h, w).
    """

    def __init__(
        self,
        spec: GenerateSpec,
        scheduler: Any,
        conditioning: Conditioning,
        *,
        latent_shape: tuple[int, int, int],
        family_key: Hashable,
    ) -> None:
        super().__init__(spec)
        self.warnings = conditioning.warnings
        text_shape = tuple(conditioning.text.shape[1:])
        self.share_key: Hashable = (family_key, latent_shape, text_shape)
        self.cost_key: Hashable = (family_key, size_class(*latent_shape[1:]), text_shape)
        self._scheduler = scheduler
        self._conditioning = conditioning
        self._calls = 0
        self._timesteps = scheduler.timesteps
        # On the CPU: the same picture on every device and in every company.
        self._generators = [torch.Generator("cpu").manual_seed(spec.seed + index) for index in range(spec.n)]
        self.latents = self._first_latents((spec.n, *latent_shape), conditioning.text)
        # As diffusers' pipelines have it; TCD's own default is another eta.
        known = inspect.signature(scheduler.step).parameters
        options = {"generator": self._generators, "eta": 0.0}
        self._options = {name: value for name, value in options.items() if name in known}

    @property
    def is_guided(self) -> bool:
        return self.rows > self.spec.n

    @property
    def rows(self) -> int:
        return len(self._conditioning.text)

    @property
    def passes_left(self) -> int:
        return len(self._timesteps) - self._calls

    @property
    def step(self) -> int:
        # Schedulers of second order (Heun) call the model twice for a step.
        return self._calls * self.steps // len(self._timesteps)

    def _first_latents(self, shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        """
        Where it begins: noise.

        Args:
            shape: (n, C, h, w).
            like: Has their device and dtype.
        """
        noise = randn_tensor(shape, generator=self._generators, device=like.device, dtype=like.dtype)
        return noise * self._scheduler.init_noise_sigma

    def one_image(self) -> Self:
        """An ordinary job with the first image alone, to measure with; it is not to be advanced."""
        one = copy.copy(self)
        one.spec = self.spec.model_copy(update={"n": 1, "reproducible": False})
        one.latents = self.latents[:1]
        one._conditioning = Conditioning(
            text=self._conditioning.text[:: self.spec.n],
            extra={name: tensor[:: self.spec.n] for name, tensor in self._conditioning.extra.items()},
        )
        return one

    def keep(self, pictures: list[Pixels]) -> list[Pixels]:
        """What becomes of pictures that were made of its latents."""
        return pictures

    def inputs(self) -> Rows:
        """The rows of its next pass."""
        timestep = self._timesteps[self._calls]
        sample = self._scheduler.scale_model_input(self.latents, timestep)
        if self.is_guided:
            sample = torch.cat([sample, sample])
        return Rows(
            sample=sample,
            timesteps=torch.full((self.rows,), float(timestep), device=sample.device),
            text=self._conditioning.text,
            extra=self._conditioning.extra,
        )

    def advance(self, prediction: torch.Tensor) -> None:
        """
        Move one step along its own schedule. Only here noise is drawn, after the forward has succeeded.

        Args:
            prediction: (R, C, h, w), the model's output for `inputs`.
        """
        if self.is_guided:
            # Classifier-free guidance (Ho & Salimans 2022), as diffusers writes it.
            without, with_prompt = prediction.chunk(2)
            prediction = without + self.spec.guidance_scale * (with_prompt - without)
        timestep = self._timesteps[self._calls]
        step = self._scheduler.step(prediction, timestep, self.latents, **self._options, return_dict=False)
        self.latents = step[0].to(self.latents.dtype)
        self._calls += 1
