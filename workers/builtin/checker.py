"""
Say what a picture shows, from its pixels alone, so that "the model drew what the caption asks" is a measurement.

It shares the vocabulary of the scenes with the drawing of the training pictures, but no code and no constants, so
that a mistake there is not repeated here. It reads the way a person does: soft edges, colours a bit off and rounded
corners are forgiven, a figure is the nearest of the eight shapes, and specks are not figures.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from PIL import Image
from scipy import ndimage

from workers.builtin.scenes import Colour, Figure, Position, Relation, Scene, Shape, Size
from workers.builtin.silhouettes import Mask, Pixels, nearest_shape

# Every picture is read at this size, so that the lengths below mean the same for all.
_LONGER_SIDE_PX = 128
_SHORTEST_SIDE_PX = 16
_BORDER_PX = 4
_SMOOTHING_PX = 0.6

# Distances between colours are Euclidean in RGB, 0 to 255 per channel.
_SEEN_AGAINST_BACKGROUND = 32.0
_SAME_INK = 45.0
_FLAT_SLOPE = 25.0  # per pixel

_UNIFORM_BORDER_SHARE = 0.7
_SPECK_SHARE = 0.003

# The larger side of a figure as a share of the picture's shorter side. A decoder takes tips away and never adds any.
_MEDIUM_FROM, _LARGE_FROM = 0.315, 0.46
_AIR_AT_EDGE = 0.05

# Two centers at 39 degrees off the axis are still "left of"; nearer to the diagonal it is not clear any more.
_DOMINANCE = 1.25
_MIN_APART = 0.1

# The hue in degrees up to which a colour has this name; what has no name here (violet) is None.
_HUES: tuple[tuple[float, Colour | None], ...] = (
    (14, "red"),
    (39, "orange"),
    (72, "yellow"),
    (162, "green"),
    (206, "cyan"),
    (262, "blue"),
    (280, None),
    (338, "magenta"),
    (360, "red"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFigure:
    """One figure as it is seen in a picture."""

    # None: no colour of the vocabulary (grey, brown, violet), or no shape of it.
    colour: Colour | None
    shape: Shape | None
    size: Size
    position: Position
    # Middle of the bounding box, as a share of the picture's width and height, from the top left.
    x: float
    y: float
    # Larger side of the bounding box, as a share of the picture's shorter side.
    extent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a picture shows. `background` is None where the border has no one colour, or one without a name."""

    background: Colour | None
    figures: tuple[SeenFigure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Which parts of a scene a picture shows."""

    background: bool
    colours: bool
    shapes: bool
    # Size, position and relation, each only where the scene states it.
    places: bool

    @property
    def all(self) -> bool:
        """True where the picture shows the whole scene."""
        return self.background and self.colours and self.shapes and self.places


def check(scene: Scene, image: Image.Image) -> Verdict:
    """Whether a picture, of any mode and size, shows a scene."""
    return judge(scene, read(image))


def judge(scene: Scene, reading: Reading) -> Verdict:
    """Whether a picture that reads so shows a scene; with more or fewer figures than asked for it does not."""
    background = reading.background == scene.background
    if len(reading.figures) != len(scene.figures):
        return Verdict(background=background, colours=False, shapes=False, places=not _states_places(scene))
    seen = max(permutations(reading.figures), key=lambda order: (_agreement(scene, order), _in_place(scene, order)))
    pairs = list(zip(scene.figures, seen, strict=True))
    return Verdict(
        background=background,
        colours=all(requested.colour == figure.colour for requested, figure in pairs),
        shapes=all(requested.shape == figure.shape for requested, figure in pairs),
        places=_in_place(scene, seen),
    )


def read(image: Image.Image) -> Reading:
    """What a picture, of any mode and size, shows; figures from the largest to the smallest."""
    pixels = _to_pixels(image)
    border = _border(pixels)
    ground = _median(border)
    uniform = np.mean(_distance(border, ground) < _SAME_INK) >= _UNIFORM_BORDER_SHARE
    masks = sorted(_figures(pixels, ground), key=np.count_nonzero, reverse=True)
    return Reading(
        background=name_colour(ground) if uniform else None,
        figures=tuple(_see(mask, pixels) for mask in masks),
    )


def name_colour(rgb: Pixels) -> Colour | None:
    """The name that people give a colour, float32 (3,), 0 to 255; None for grey, brown and violet."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(float(channel) / 255 for channel in rgb))
    if value < 0.26 or (value < 0.32 and saturation < 0.4):
        return "black"
    if saturation < 0.22:
        return "white" if value > 0.78 else None
    name = next(name for limit, name in _HUES if hue * 360 <= limit)
    darkest = 0.6 if name in ("orange", "yellow") else 0.35
    return name if value >= darkest else None


def _states_places(scene: Scene) -> bool:
    return scene.relation is not None or any(figure.size or figure.position for figure in scene.figures)


def _agreement(scene: Scene, seen: tuple[SeenFigure, ...]) -> int:
    pairs = zip(scene.figures, seen, strict=True)
    return sum((requested.colour == figure.colour) + (requested.shape == figure.shape) for requested, figure in pairs)


def _in_place(scene: Scene, seen: tuple[SeenFigure, ...]) -> bool:
    related = scene.relation is None or _is_related(scene.relation, *seen)
    return related and all(_fits(requested, figure) for requested, figure in zip(scene.figures, seen, strict=True))


def _fits(requested: Figure, seen: SeenFigure) -> bool:
    return requested.size in (None, seen.size) and requested.position in (None, seen.position)


def _is_related(relation: Relation, first: SeenFigure, second: SeenFigure) -> bool:
    right, down = first.x - second.x, first.y - second.y
    along, across = {
        "left of": (-right, down),
        "right of": (right, down),
        "above": (-down, right),
        "below": (down, right),
    }[relation]
    return along > _MIN_APART and along > _DOMINANCE * abs(across)


def _to_pixels(image: Image.Image) -> Pixels:
    """The picture as float32 (H, W, 3), 0 to 255, the longer side 128, a little smoothed against noise."""
    scale = _LONGER_SIDE_PX / max(image.size)
    width, height = (max(_SHORTEST_SIDE_PX, round(side * scale)) for side in image.size)
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    smooth: Pixels = ndimage.gaussian_filter(np.asarray(resized, dtype=np.float32), (_SMOOTHING_PX, _SMOOTHING_PX, 0))
    return smooth


def _border(pixels: Pixels) -> Pixels:
    """The pixels along the edges, float32 (N, 3)."""
    is_border = np.ones(pixels.shape[:2], dtype=bool)
    is_border[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX] = False
    return pixels[is_border]


def _median(pixels: Pixels) -> Pixels:
    return np.median(pixels, axis=0).astype(np.float32)


def _distance(pixels: Pixels, colour: Pixels) -> Pixels:
    return _length(pixels - colour)


def _length(offsets: Pixels) -> Pixels:
    length: Pixels = np.sqrt(np.einsum("...c,...c->...", offsets, offsets))
    return length


def _figures(pixels: Pixels, ground: Pixels) -> Iterator[Mask]:
    """
    The mask of every figure.

    A blurred edge runs through colours that are neither the background's nor the figure's (orange, between yellow
    and magenta). So the inks are taken from the flat inside of what stands out, and every pixel then goes to the
    background or the ink that it is nearest to, which puts the edge at half the way between them.
    """
    flat = _is_flat(pixels)
    for island in _islands(_distance(pixels, ground) > _SEEN_AGAINST_BACKGROUND):
        inks = _inks(pixels, island, flat)
        nearest = np.argmin([_distance(pixels, colour) for colour in (ground, *inks)], axis=0)
        for number in range(1, len(inks) + 1):
            mask = island & (nearest == number)
            # Where two inks meet, the edge of one may be nearest to the other: a line, not a figure.
            yield from _islands(mask if len(inks) == 1 else ndimage.binary_opening(mask))


def _is_flat(pixels: Pixels) -> Mask:
    down = np.diff(pixels, axis=0, prepend=pixels[:1])
    right = np.diff(pixels, axis=1, prepend=pixels[:, :1])
    flat: Mask = np.hypot(_length(down), _length(right)) < _FLAT_SLOPE
    return flat


def _islands(mask: Mask) -> Iterator[Mask]:
    """The connected parts of a mask, but for the specks."""
    labels, _ = ndimage.label(mask)
    areas = np.bincount(labels.ravel())
    for number in np.flatnonzero(areas[1:] >= max(1.0, _SPECK_SHARE * mask.size)) + 1:
        yield labels == number


def _inks(pixels: Pixels, island: Mask, flat: Mask) -> list[Pixels]:
    """The colours that an island is painted in, the largest area first; none if it is a line, such as a halo."""
    core = ndimage.binary_erosion(island, iterations=2)
    inside = island & flat & core
    inks: list[Pixels] = []
    while any(True for _ in _islands(ndimage.binary_erosion(inside))):
        ink = _commonest(pixels[inside])
        inks.append(ink)
        inside &= _distance(pixels, ink) > _SAME_INK
    if inks or not core.any():
        return inks
    return [_median(pixels[core])]


def _commonest(pixels: Pixels) -> Pixels:
    """The colour that most of the pixels, float32 (N, 3), are near to: at least one is within `_SAME_INK` of it."""
    bins = (pixels // 32).astype(np.intp) @ (64, 8, 1)
    # Means: some pixel is always as near to the mean as the standard deviation, which no median promises.
    seed = pixels[bins == np.bincount(bins).argmax()].mean(axis=0)
    commonest: Pixels = pixels[_distance(pixels, seed) < _SAME_INK].mean(axis=0)
    return commonest


def _core_colour(pixels: Pixels, mask: Mask) -> Pixels:
    core = ndimage.binary_erosion(mask, iterations=2)
    return _median(pixels[core if core.any() else mask])


def _see(mask: Mask, pixels: Pixels) -> SeenFigure:
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    x, y = (columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2
    side = max(np.ptp(columns), np.ptp(rows)) + 1
    extent = float(side / min(width, height))
    return SeenFigure(
        colour=name_colour(_core_colour(pixels, mask)),
        shape=nearest_shape(mask),
        size="small" if extent < _MEDIUM_FROM else "medium" if extent < _LARGE_FROM else "large",
        position=_position(_third(x / width, side / width / 2), _third(y / height, side / height / 2)),
        x=float(x / width),
        y=float(y / height),
        extent=extent,
    )


def _third(center: float, half_side: float) -> int:
    """Where a figure of this half side lies: nearest to the near edge (-1), to the middle or to the far edge (1)."""
    at_edge = min(0.5, half_side + _AIR_AT_EDGE)
    limit = (at_edge + 0.5) / 2
    return int(center > 1 - limit) - int(center < limit)


def _position(across: int, down: int) -> Position:
    rows: tuple[tuple[Position, Position, Position], ...] = (
        ("top left", "top", "top right"),
        ("left", "center", "right"),
        ("bottom left", "bottom", "bottom right"),
    )
    return rows[down + 1][across + 1]
