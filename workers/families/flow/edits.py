"""Edits of flow-matching transformers: runs that begin at a picture, with noise as their strength says."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch

from jobs.catalogue.entry import Edited, WayToEdit
from workers.families.edited import EditedRun
from workers.families.flow.run import FlowConditioning, FlowRun, Guide, LatentSpace
from workers.runners.edit_work import Edit

# Image to image, and inpainting.
BY_STRENGTH: Mapping[Edited, WayToEdit] = {"image": "strength", "mask": "strength"}


class FlowEditRun(EditedRun, FlowRun):
    """
    As diffusers' pipelines for image to image and for inpainting have it, each image as if it were alone.

    Args:
        begins_at_noise: Whether nothing of the picture is in what it begins with, though a schedule may begin below 1.
    """

    def __init__(
        self,
        edit: Edit,
        scheduler: Any,
        conditioning: FlowConditioning,
        *,
        space: LatentSpace,
        guide: Guide,
        share_key: Hashable,
        cost_key: Hashable,
        begins_at_noise: bool,
    ) -> None:
        assert conditioning.source is not None, "as the family encodes an edit"  # noqa: S101
        self._edit = edit
        self._source = conditioning.source
        self._begins_at_noise = begins_at_noise
        super().__init__(
            edit.spec, scheduler, conditioning, space=space, guide=guide, share_key=share_key, cost_key=cost_key
        )

    @property
    def steps(self) -> int:
        return self._edit.spec.flow_passes

    def advance(self, prediction: Sequence[torch.Tensor]) -> None:
        super().advance(prediction)
        if self._mask is not None:
            self._blend(self._mask)

    def _first_latents(self, space: LatentSpace) -> torch.Tensor:
        """What is drawn, and in which order, is as in diffusers' pipelines, so that what schedulers draw is, too."""
        self._skip_steps()
        source = self._source
        original = source.sample(source.image, self._generators, space.like)
        noise = space.draw(self._generators)
        self._mask = None
        if source.mask is not None:
            if source.masked is not None:  # For what it draws alone.
                source.sample(source.masked, self._generators, space.like)
            self._mask = space.pack(source.mask.to(noise).expand(1, *original.shape[1:]))
        self._original, self._noise = space.pack(original), space.pack(noise)
        return (self._noise if self._begins_at_noise else self._noised(self._original)).to(space.dtype)

    def _noised(self, original: torch.Tensor) -> torch.Tensor:
        """Flow matching (Lipman et al. 2022): on the straight line from the picture to the noise."""
        # A scheduler has a noise level for each of its timesteps, and one for the end.
        begun = len(self._scheduler.timesteps) - len(self._timesteps)
        sigma = self._scheduler.sigmas[begun + self._calls].to(original)
        return sigma * self._noise + (1.0 - sigma) * original
