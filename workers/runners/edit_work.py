"""What an edit brings beside its specification: the picture that is edited, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.kinds.edit import EditSpec
from jobs.kinds.generate import GenerateSpec
from jobs.kinds.inputs import Input
from workers.runners.postprocess import Pixels

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """
    One edit, as a family begins it: from a picture, where a generation begins from noise alone.

    Attributes:
        spec: All that it says; its size is the picture's.
        image: What is edited, uint8 (height, width, 3).
        mask: Where it is repainted, (height, width); None is everywhere.
        references: Further pictures that are looked at, each of a size of its own, uint8 (height, width, 3).
    """

    spec: EditSpec
    image: Pixels
    mask: Mask | None = None
    references: Sequence[Pixels] = ()

    def keep(self, made: Pixels) -> Pixels:
        """A picture that was made of it, with the edited picture's own pixels outside of the mask."""
        if self.mask is None:
            return made
        return np.where(self.mask[..., None], made, self.image)


def edit_of(spec: GenerateSpec, image: Pixels, mask: Mask | None = None, **said: Any) -> Edit:
    """
    An edit of pixels that nobody sent, to try a model or to measure it.

    Args:
        spec: What it has in common with a generation.
        image, mask: As of `Edit`, and of the size that `spec` says.
        said: What it says beside that, by the names of its specification.
    """
    unsent = Input(object="none", bytes=0, width=spec.width, height=spec.height)
    fields = {**spec.model_dump(), "image": unsent, "mask": None if mask is None else unsent, **said}
    return Edit(spec=EditSpec.model_validate(fields), image=image, mask=mask)


def edit_of_gray(spec: GenerateSpec, *, is_masked: bool = False) -> Edit:
    """An edit of a gray picture with all strength, to try a model that does nothing else; `is_masked`: all of it."""
    gray = np.full((spec.height, spec.width, 3), 128, dtype=np.uint8)
    mask = np.ones(gray.shape[:2], dtype=bool) if is_masked else None
    return edit_of(spec, gray, mask, strength=1.0)


Work = GenerateSpec | Edit  # what a family of pictures is handed: a generation is its specification


def spec_of(work: Work) -> GenerateSpec:
    """The specification of either."""
    return work.spec if isinstance(work, Edit) else work
