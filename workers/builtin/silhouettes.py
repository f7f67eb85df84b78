"""The eight shapes as the checker knows them, and which of them a figure is nearest to."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from workers.builtin.scenes import Shape

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Below this overlap with every ideal shape, a figure is a blob.
_MIN_OVERLAP = 0.65
_CANONICAL_PX = 48
# Half the side of the canonical square, in units of the square root of the figure's area.
_CANONICAL_REACH = 1.15
# The ideals are made at this size, with sharp corners and with corners rounded by a blur of this standard deviation.
_IDEAL_PX = 96
_ROUNDING_PX = (0.0, 4.0)


def nearest_shape(mask: Mask) -> Shape | None:
    """The shape whose ideal has the largest intersection over union with the figure; None for a blob."""
    figure = _canonical(mask)
    shapes, ideals = _ideals()
    shared = np.minimum(ideals, figure).sum(axis=(1, 2))
    overlaps = shared / (ideals.sum(axis=(1, 2)) + figure.sum() - shared)
    best = int(overlaps.argmax())
    return shapes[best] if overlaps[best] >= _MIN_OVERLAP else None


def _canonical(mask: Mask) -> Pixels:
    """
    A figure as it looks with its center of mass in the middle and with unit area, so that neither place nor size
    nor a lost tip (which moves the bounding box) counts.

    Returns:
        Float32 (48, 48), the share of each pixel that is covered, 0 to 1.
    """
    scale = 2 * _CANONICAL_REACH * np.sqrt(np.count_nonzero(mask)) / _CANONICAL_PX
    offset = np.array(ndimage.center_of_mass(mask)) - scale * (_CANONICAL_PX - 1) / 2
    covered: Pixels = ndimage.affine_transform(
        mask.astype(np.float32), np.array([scale, scale]), offset, (_CANONICAL_PX, _CANONICAL_PX), order=1
    )
    return covered


@cache
def _ideals() -> tuple[tuple[Shape, ...], Pixels]:
    """The eight shapes as people draw them, in several builds and roundings; float32 (N, 48, 48), canonical."""
    x, y = np.meshgrid(*[np.linspace(-1.3, 1.3, _IDEAL_PX)] * 2)
    radius, outer, inner = np.hypot(x, y), np.maximum(abs(x), abs(y)), np.minimum(abs(x), abs(y))
    builds: list[tuple[Shape, Mask]] = [
        ("circle", radius <= 1),
        ("square", outer <= 1),
        *(("ring", (radius <= 1) & (radius >= hole)) for hole in (0.35, 0.45, 0.55, 0.65)),
        *(("cross", (outer <= 1) & (inner <= arm)) for arm in (0.25, 0.35, 0.45)),
        *(("diamond", abs(x) / waist + abs(y) <= 1) for waist in (0.65, 0.8, 1.0)),
        *(("triangle", (abs(x) <= (y + tall) / (2 * tall)) & (y <= tall)) for tall in (0.75, 0.87, 1.0)),
        *(("star", _star(x, y, waist)) for waist in (0.38, 0.5, 0.63)),
        *(("heart", _heart(x, y * squat)) for squat in (0.95, 1.1)),
    ]
    rounded = [(shape, _round(mask, blur)) for shape, mask in builds for blur in _ROUNDING_PX]
    return tuple(shape for shape, _ in rounded), np.stack([_canonical(mask) for _, mask in rounded])


def _heart(x: NDArray[np.float64], y: NDArray[np.float64]) -> Mask:
    """A square on its corner with a half disc on each of the upper sides."""
    heart: Mask = (abs(x) + abs(y) <= 1) | (np.hypot(abs(x) - 0.5, y + 0.5) <= np.sqrt(0.5))
    return heart


def _round(mask: Mask, blur_px: float) -> Mask:
    soft = ndimage.gaussian_filter(mask.astype(np.float32), blur_px)
    rounded: Mask = soft > 0.5
    return rounded


def _star(x: NDArray[np.float64], y: NDArray[np.float64], waist: float) -> Mask:
    """Five tips at distance 1, the first upwards, and the inner corners at distance `waist`."""
    fifth = 2 * np.pi / 5
    from_tip = abs((np.arctan2(x, -y) + fifth / 2) % fifth - fifth / 2)
    along, aside = np.hypot(x, y) * np.cos(from_tip), np.hypot(x, y) * np.sin(from_tip)
    corner_along, corner_aside = waist * np.cos(fifth / 2), waist * np.sin(fifth / 2)
    inside: Mask = (1 - along) * corner_aside >= aside * (1 - corner_along)
    return inside
