"""A job of a model that predicts noise, which a scheduler moves from noise to latents."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Self

import torch
from diffusers.utils.torch_utils import randn_tensor

from jobs.kinds.generate import GenerateSpec
from workers.families.diffusion.rows import Rows
from workers.families.parts.autoencoder import Source
from workers.families.parts.size_class import size_class
from workers.families.stepped import SteppedRun


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


class ScheduledRun(SteppedRun):
    """
    The images of one job, whose latents are rows of a denoiser.

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
        super().__init__(spec, scheduler)
        self.warnings = conditioning.warnings
        text_shape = tuple(conditioning.text.shape[1:])
        self.share_key: Hashable = (family_key, latent_shape, text_shape)
        self.cost_key: Hashable = (family_key, size_class(*latent_shape[1:]), text_shape)
        self._conditioning = conditioning
        self.latents = self._first_latents((spec.n, *latent_shape), conditioning.text)

    @property
    def rows(self) -> int:
        return len(self._conditioning.text)

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
        one = super().one_image()
        one._conditioning = Conditioning(
            text=self._conditioning.text[:: self.spec.n],
            extra={name: tensor[:: self.spec.n] for name, tensor in self._conditioning.extra.items()},
        )
        return one

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
        Move one step on.

        Args:
            prediction: (R, C, h, w), the model's output for `inputs`.
        """
        if self.is_guided:
            # Classifier-free guidance (Ho & Salimans 2022), as diffusers writes it.
            without, with_prompt = prediction.chunk(2)
            prediction = without + self.spec.guidance_scale * (with_prompt - without)
        self.move(prediction)
