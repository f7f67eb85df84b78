"""What an edit brings beside its specification: the picture that is edited, and where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.kinds.edit import steps_run
from jobs.kinds.generate import GenerateSpec
from workers.runners.postprocess import Pixels

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """
    One edit, as a family begins it: from a picture, where a generation begins from noise alone.

    Attributes:
        spec: Its prompt, sampling fields and size, which is the picture's.
        image: What is edited, uint8 (height, width, 3).
        mask: Where it is repainted, (height, width); None is everywhere.
        strength: How much of the schedule runs, above 0 and up to 1: with 1 little of the picture is left (SDEdit, Meng
            et al. 2021).
    """

    spec: GenerateSpec
    image: Pixels
    mask: Mask | None = None
    strength: float

    @property
    def steps(self) -> int:
        """Of the schedule that run, counted from its end."""
        return steps_run(self.spec.num_inference_steps, self.strength)

    def keep(self, made: Pixels) -> Pixels:
        """A picture that was made of it, with the edited picture's own pixels outside of the mask."""
        if self.mask is None:
            return made
        return np.where(self.mask[..., None], made, self.image)


Work = GenerateSpec | Edit  # what a family of pictures is handed: a generation is its specification


def spec_of(work: Work) -> GenerateSpec:
    """The specification of either."""
    return work.spec if isinstance(work, Edit) else work
