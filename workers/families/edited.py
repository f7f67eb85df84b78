"""An edit that goes on step by step: it begins at the picture, late in its schedule, and keeps what is not masked."""

from __future__ import annotations

from abc import abstractmethod

import torch

from workers.families.parts.autoencoder import Source
from workers.families.stepped import SteppedRun
from workers.runners.edit_work import Edit
from workers.runners.postprocess import Pixels


class EditedRun(SteppedRun):
    """
    What edits have in common, whatever predicts their latents; to be mixed into a run of generations.

    Latents outside of the mask are those of the picture, with the noise of the step (Lugmayr et al. 2022, equation 8).
    """

    _edit: Edit
    _source: Source
    _original: torch.Tensor  # latents of the picture, as the model takes them
    _noise: torch.Tensor  # of their shape

    @abstractmethod
    def _noised(self, original: torch.Tensor) -> torch.Tensor:
        """Latents of the picture with as much noise as its next step begins with."""

    def keep(self, pictures: list[Pixels]) -> list[Pixels]:
        return [self._edit.keep(each) for each in pictures]

    def _skip_steps(self) -> None:
        """Leave out the first steps of its schedule, as its strength says."""
        skipped = (self.spec.num_inference_steps - self.steps) * self._scheduler.order
        self._timesteps = self._timesteps[skipped:]
        if hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(skipped)

    def _blend(self, mask: torch.Tensor) -> None:
        """
        Put the picture back outside of the mask, after a step.

        Args:
            mask: As the latents are, or of one channel; 1 where it is repainted.
        """
        original = self._noised(self._original) if self.passes_left else self._original
        self.latents = (1 - mask) * original + mask * self.latents
