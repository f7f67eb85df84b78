"""
Pixels of an edit: from the input picture to what a model works on, and back; as `jobs.kinds.canvas` plans it.

Outside of the mask, pixels of the result are those of the picture, bit for bit. Where the result is asked in another
size, they are those of the scaled picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.catalogue.entry import Model
from jobs.kinds.canvas import Plan, Region, Size, plan
from workers.runners.bands import as_array

# Of memory, for each pixel of the result, as measured (Pillow 13, numpy 2.4, 5000²): picture and mask are held; while a
# region is put back, there are it in the making, it, and the result.
_HELD_BYTES, _PASTE_BYTES = 4, 10

Pixels = NDArray[np.uint8]  # (height, width, 3)
Mask = NDArray[np.bool_]  # (height, width)
Cells = TypeVar("Cells", Pixels, Mask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """
    A picture that is edited.

    Attributes:
        plan: What becomes of it.
        image: The picture at the result's size.
        mask: Where that is repainted; None is everywhere.
    """

    plan: Plan
    image: Pixels
    mask: Mask | None

    def cut(self) -> Pixels:
        """What the model works on, uint8 (plan.height, plan.width, 3)."""
        return _padded(_scaled(_part(self.image, self.plan.region), self.plan.scaled), self.plan.size)

    def cut_mask(self) -> Mask | None:
        """Where the model repaints that, (plan.height, plan.width). The padding is as the pixels at the edge are."""
        if self.mask is None:
            return None
        return _padded(scale_mask(_part(self.mask, self.plan.region), self.plan.scaled), self.plan.size)

    def paste(self, made: Pixels) -> Pixels:
        """
        The result, of `plan.output_size`.

        Args:
            made: What the model made of `cut`, of the same shape.
        """
        width, height = self.plan.scaled
        region = self.plan.region
        repainted = _scaled(made[:height, :width], region.size)
        if self.mask is None:
            return repainted
        result = self.image.copy()
        part = _part(result, region)
        np.copyto(part, repainted, where=_part(self.mask, region)[..., None])
        return result


def lay_out(
    image: Pixels,
    mask: Mask | None,
    model: Model,
    *,
    wanted: Size | None = None,
    padding_mask_crop: int | None = None,
) -> Canvas:
    """
    Make a picture ready to be edited.

    Args:
        image: The input picture, upright, uint8 (height, width, 3).
        mask: Where it is repainted, of any size: it is stretched over the picture. Nothing has to be masked.
        wanted, padding_mask_crop: As of `jobs.kinds.canvas.plan`.
    """
    size = (image.shape[1], image.shape[0])
    planned = partial(plan, size, model, wanted=wanted, is_masked=mask is not None, padding_mask_crop=padding_mask_crop)
    placed = planned()
    if mask is not None:
        mask = scale_mask(_part(scale_mask(mask, size), placed.source), placed.output_size)
        placed = planned(mask_box=box_of(mask))
    return Canvas(plan=placed, image=_scaled(_part(image, placed.source), placed.output_size), mask=mask)


def held_bytes(size: Size) -> int:
    """How much memory a canvas takes as long as it is there, at the worst; of a result of this size."""
    return _HELD_BYTES * size[0] * size[1]


def paste_bytes(size: Size) -> int:
    """How much memory making one result with it takes beside that, at the worst."""
    return _PASTE_BYTES * size[0] * size[1]


def box_of(mask: Mask) -> Region | None:
    """The smallest region that has all that is masked; None where nothing is."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return None
    return Region(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def scale_mask(mask: Mask, size: Size) -> Mask:
    """
    A mask in another size, (height, width).

    A pixel is masked if any is that it covers, be it in part: a thin line does not vanish, and the result takes nothing
    from the model that it was not asked to repaint.
    """
    width, height = size
    return _scale_axis(_scale_axis(mask, height, axis=0), width, axis=1)


def _scale_axis(mask: Mask, count: int, *, axis: int) -> Mask:
    have = mask.shape[axis]
    if count == have:
        return mask
    at = np.arange(count)
    if count > have:
        return mask.take(at * have // count, axis=axis) | mask.take(-(-(at + 1) * have // count) - 1, axis=axis)
    any_from = partial(np.logical_or.reduceat, mask, axis=axis)
    masked: Mask = any_from(at * have // count) | any_from(-(-at * have // count))  # Begun in it, and ended in it.
    return masked


def _part(pixels: Cells, region: Region) -> Cells:
    """A view of it."""
    return pixels[region.top : region.bottom, region.left : region.right]


def _scaled(pixels: Pixels, size: Size) -> Pixels:
    if pixels.shape[1::-1] == size:
        return pixels
    return as_array(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def _padded(pixels: Cells, size: Size) -> Cells:
    """On the right and below, with what is at the edge."""
    (width, height), (have_height, have_width) = size, pixels.shape[:2]
    missing = [(0, height - have_height), (0, width - have_width)] + [(0, 0)] * (pixels.ndim - 2)
    return np.pad(pixels, missing, mode="edge")
