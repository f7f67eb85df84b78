"""An edit on its way: it begins at the picture, with noise as its strength says, and keeps what is not masked."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from workers.families.diffusion.rows import Rows
from workers.families.diffusion.scheduled import Conditioning, ScheduledRun
from workers.families.edited import EditedRun
from workers.runners.edit_work import Edit


class EditRun(EditedRun, ScheduledRun):
    """
    As diffusers' pipelines for image to image and for inpainting have it, each image as if it were alone.

    A model that was made for inpainting gets the mask and the masked picture's latents in each pass, beside its own.

    Args:
        has_picture_channels: Whether the model was made for it.
    """

    def __init__(
        self,
        edit: Edit,
        scheduler: Any,
        conditioning: Conditioning,
        *,
        latent_shape: tuple[int, int, int],
        family_key: Hashable,
        has_picture_channels: bool,
    ) -> None:
        assert conditioning.source is not None, "as the family encodes an edit"  # noqa: S101
        self._edit = edit
        self._source = conditioning.source
        self._has_picture_channels = has_picture_channels
        super().__init__(edit.spec, scheduler, conditioning, latent_shape=latent_shape, family_key=family_key)

    def one_image(self) -> EditRun:
        one = super().one_image()
        one._picture = None if self._picture is None else self._picture[:1]
        return one

    def inputs(self) -> Rows:
        rows = super().inputs()
        if self._picture is None:
            return rows
        picture = torch.cat([self._picture] * (self.rows // self.spec.n))
        return rows.with_sample(torch.cat([rows.sample, picture], dim=1))

    def advance(self, prediction: torch.Tensor) -> None:
        super().advance(prediction)
        if self._source.mask is not None and not self._has_picture_channels:
            self._blend(self._source.mask)

    def _noised(self, original: torch.Tensor) -> torch.Tensor:
        noised: torch.Tensor = self._scheduler.add_noise(
            original, self._noise, self._timesteps[self._calls : self._calls + 1].repeat(self.spec.n)
        )
        return noised

    def _first_latents(self, shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        """What is drawn, and in which order, is as in diffusers' pipelines, so that what schedulers draw is, too."""
        self._skip_steps()
        source, is_masked = self._source, self._source.mask is not None
        begins_at_noise = is_masked and self._edit.spec.strength == 1.0
        if not (begins_at_noise and self._has_picture_channels):
            self._original = source.sample(source.image, self._generators, like)
        self._noise = randn_tensor(shape, generator=self._generators, device=like.device, dtype=like.dtype)
        self._picture = self._masked_picture(like) if is_masked else None
        if begins_at_noise:
            return self._noise * self._scheduler.init_noise_sigma
        return self._noised(self._original)

    def _masked_picture(self, like: torch.Tensor) -> torch.Tensor | None:
        """For a model that takes it, (n, 1 + C, h, w): the mask, and latents of what that leaves of the picture."""
        masked = self._source.sample(self._source.masked, self._generators, like)
        if not self._has_picture_channels or self._source.mask is None:
            return None
        return torch.cat([self._source.mask.expand(self.spec.n, -1, -1, -1).to(like), masked], dim=1)
