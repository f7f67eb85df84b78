"""Draw a scene: the pictures that the built-in model is trained on."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from workers.builtin.scenes import (
    COLOURS,
    SHAPES,
    SIZES,
    Colour,
    Figure,
    Position,
    Relation,
    Scene,
    Shape,
    Size,
)

SIZE_PX = 128  # of both sides, or of the shorter one
_SUPERSAMPLING = 4
_MARGIN_PX = 4

PALETTE: dict[Colour, tuple[int, int, int]] = {
    "red": (222, 42, 40),
    "green": (40, 168, 76),
    "blue": (40, 84, 222),
    "yellow": (250, 216, 44),
    "cyan": (44, 204, 222),
    "magenta": (214, 52, 188),
    "orange": (246, 134, 34),
    "white": (248, 248, 248),
    "black": (20, 20, 24),
}

# Half of the larger side of the figure's bounding box, in pixels.
_RADIUS_PX: dict[Size | None, tuple[float, float]] = {"small": (16, 18.5), "medium": (23.5, 27), "large": (34, 39)}
_PAIR_RADIUS_PX = (18.0, 23.0)

# The same on a grid, None for one of two figures; on the wider one, edges are at halves of its cells.
_GRID_RADIUS_PX: dict[int, dict[Size | None, float]] = {
    8: {"small": 17, "medium": 25, "large": 36, None: 20},
    16: {"small": 16, "medium": 24, "large": 40, None: 24},
}
_GRID_APART_PX = 32  # of a pair's figures from the middle

# -1, 0, 1: towards the left or top edge, the middle, towards the right or bottom edge.
_SIDES: dict[Position, tuple[int, int]] = {
    "center": (0, 0),
    "left": (-1, 0),
    "right": (1, 0),
    "top": (0, -1),
    "bottom": (0, 1),
    "top left": (-1, -1),
    "top right": (1, -1),
    "bottom left": (-1, 1),
    "bottom right": (1, 1),
}
_DIRECTION: dict[Relation, tuple[int, int]] = {
    "left of": (-1, 0),
    "right of": (1, 0),
    "above": (0, -1),
    "below": (0, 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A figure's center, and half of the larger side of its bounding box, in pixels."""

    x: float
    y: float
    radius: float


def draw(
    scene: Scene, rng: random.Random, *, grid_px: int | None = None, size: tuple[int, int] = (SIZE_PX, SIZE_PX)
) -> Image.Image:
    """
    Draw a scene, choosing at random what the scene leaves open.

    Args:
        grid_px: 8 or 16: centers at multiples of it, one radius for each size, and the center where no place is named.
            To a model whose cells are this wide, a figure then looks the same wherever it stands, and a small model has
            much less to learn: with open places it drew one figure in two of them.
        size: Width and height in pixels, the shorter 128: how large a figure is follows from that one.

    Returns:
        RGB, anti-aliased.
    """
    return draw_places(scene, places(scene, rng, grid_px=grid_px, size=size), size=size)


def places(scene: Scene, rng: random.Random, *, grid_px: int | None, size: tuple[int, int]) -> list[Place]:
    """Where each figure of a scene stands; the arguments are those of `draw`."""
    if min(size) != SIZE_PX:
        raise ValueError(f"size: the shorter side is {SIZE_PX}, not that of {size}")
    if grid_px is None:
        return _places(scene, rng, size)
    return _places_on_grid(scene, rng, grid_px, size)


def draw_places(scene: Scene, at: Sequence[Place], *, size: tuple[int, int]) -> Image.Image:
    """The figures of a scene, each at its place. Returns RGB, anti-aliased."""
    width, height = size
    image = Image.new("RGB", (width * _SUPERSAMPLING, height * _SUPERSAMPLING), PALETTE[scene.background])
    pen = ImageDraw.Draw(image)
    for figure, place in zip(scene.figures, at, strict=True):
        _draw_figure(pen, figure, place, PALETTE[scene.background])
    return image.resize(size, Image.Resampling.BOX)


def draw_crowd(count: int, rng: random.Random) -> Image.Image:
    """
    Draw figures of all kinds over each other: many edges in little space, for the autoencoder to learn from.

    Returns:
        RGB, 128 × 128 pixels, anti-aliased.
    """
    side = SIZE_PX * _SUPERSAMPLING
    ground = PALETTE[rng.choice(COLOURS)]
    image = Image.new("RGB", (side, side), ground)
    pen = ImageDraw.Draw(image)
    for _ in range(count):
        figure = Figure(colour=rng.choice(COLOURS), shape=rng.choice(SHAPES))
        place = Place(x=rng.uniform(0, SIZE_PX), y=rng.uniform(0, SIZE_PX), radius=rng.uniform(14, 39))
        _draw_figure(pen, figure, place, ground)
    return image.resize((SIZE_PX, SIZE_PX), Image.Resampling.BOX)


def _places(scene: Scene, rng: random.Random, size: tuple[int, int]) -> list[Place]:
    if scene.relation is None:
        return [_single_place(scene.figures[0], rng, size)]
    dx, dy = _DIRECTION[scene.relation]
    return [_pair_place(sign * dx, sign * dy, rng, size) for sign in (1, -1)]


def _single_place(figure: Figure, rng: random.Random, size: tuple[int, int]) -> Place:
    radius = rng.uniform(*_RADIUS_PX[figure.size or rng.choice(("small", "medium", "large"))])
    sides = (None, None) if figure.position is None else _SIDES[figure.position]
    x, y = (_along(length, towards, radius, rng) for length, towards in zip(size, sides, strict=True))
    return Place(x=x, y=y, radius=radius)


def _along(length: int, towards: int | None, radius: float, rng: random.Random) -> float:
    nearest, farthest = radius + _MARGIN_PX, length - radius - _MARGIN_PX
    match towards:
        case None:
            return rng.uniform(nearest, farthest)
        case 0:
            return rng.uniform(length / 2 - 3, length / 2 + 3)
    return rng.uniform(nearest, nearest + 4) if towards < 0 else rng.uniform(farthest - 4, farthest)


def _pair_place(dx: int, dy: int, rng: random.Random, size: tuple[int, int]) -> Place:
    return _beside(size, dx, dy, rng.uniform(27, 33), rng.uniform(-12, 12), rng.uniform(*_PAIR_RADIUS_PX))


def _beside(size: tuple[int, int], dx: int, dy: int, along: float, across: float, radius: float) -> Place:
    """So far from the middle, in the direction of an axis and beside it."""
    x, y = (length / 2 + (way * along if way else across) for length, way in zip(size, (dx, dy), strict=True))
    return Place(x=x, y=y, radius=radius)


def _places_on_grid(scene: Scene, rng: random.Random, grid_px: int, size: tuple[int, int]) -> list[Place]:
    if scene.relation is not None:
        dx, dy = _DIRECTION[scene.relation]
        return [_pair_place_on_grid(sign * dx, sign * dy, rng, grid_px, size) for sign in (1, -1)]
    figure = scene.figures[0]
    radius = _GRID_RADIUS_PX[grid_px][figure.size or rng.choice(SIZES)]
    nearest = math.ceil((radius + _MARGIN_PX) / grid_px) * grid_px
    sides = _SIDES[figure.position or "center"]
    x, y = (length // 2 + side * (length // 2 - nearest) for length, side in zip(size, sides, strict=True))
    return [Place(x=x, y=y, radius=radius)]


def _pair_place_on_grid(dx: int, dy: int, rng: random.Random, grid_px: int, size: tuple[int, int]) -> Place:
    return _beside(size, dx, dy, _GRID_APART_PX, rng.choice((-grid_px, 0, grid_px)), _GRID_RADIUS_PX[grid_px][None])


def _draw_figure(pen: ImageDraw.ImageDraw, figure: Figure, place: Place, background: tuple[int, int, int]) -> None:
    ink = PALETTE[figure.colour]
    if figure.shape in ("circle", "ring"):
        pen.ellipse(_box(place, 1.0), fill=ink)
        if figure.shape == "ring":
            pen.ellipse(_box(place, 0.55), fill=background)
        return
    outline = [
        ((place.x + x * place.radius) * _SUPERSAMPLING, (place.y + y * place.radius) * _SUPERSAMPLING)
        for x, y in _outline(figure.shape)
    ]
    pen.polygon(outline, fill=ink)


def _box(place: Place, scale: float) -> tuple[float, float, float, float]:
    radius = place.radius * scale
    box = (place.x - radius, place.y - radius, place.x + radius, place.y + radius)
    left, top, right, bottom = (edge * _SUPERSAMPLING for edge in box)
    return left, top, right, bottom


def _outline(shape: Shape) -> list[tuple[float, float]]:
    """The polygon of a shape in a unit box, x and y from -1 to 1, y downwards."""
    match shape:
        case "square":
            return [(-1, -1), (1, -1), (1, 1), (-1, 1)]
        case "triangle":
            return [(0, -0.9), (1, 0.9), (-1, 0.9)]
        case "diamond":
            return [(0, -1), (0.72, 0), (0, 1), (-0.72, 0)]
        case "cross":
            arm = 0.32
            quarter = [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm)]
            return quarter + [(-x, -y) for x, y in quarter]
        case "star":
            tips = [(math.sin(math.pi * k / 5), -math.cos(math.pi * k / 5)) for k in range(10)]
            scaled = [(x * r, y * r) for (x, y), r in zip(tips, [1.05, 0.46] * 5, strict=True)]
            return [(x, y + 0.08) for x, y in scaled]
        case "heart":
            turns = [2 * math.pi * k / 80 for k in range(80)]
            return [
                (
                    math.sin(t) ** 3,
                    -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16 - 0.12,
                )
                for t in turns
            ]
    raise ValueError(f"no outline for {shape!r}")
