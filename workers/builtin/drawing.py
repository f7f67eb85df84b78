"""Draw a scene: the pictures that the built-in model is trained on."""

from __future__ import annotations

import math
import random
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

SIZE_PX = 128
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

# The same on the grid.
_GRID_PX = 8
_GRID_RADIUS_PX: dict[Size | None, float] = {"small": 17, "medium": 25, "large": 36}
_GRID_PAIR_RADIUS_PX = 20.0

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
class _Place:
    x: float
    y: float
    radius: float


def draw(scene: Scene, rng: random.Random, *, on_grid: bool = False) -> Image.Image:
    """
    Draw a scene, choosing at random what the scene leaves open.

    Args:
        on_grid: Centers at multiples of 8 px, one radius for each size, and the center where no place is named. To
            the latents, whose cells are 8 px wide, a figure then looks the same wherever it stands, and a small model
            has much less to learn: with open places it drew one figure in two of them.

    Returns:
        RGB, 128 × 128 pixels, anti-aliased.
    """
    side = SIZE_PX * _SUPERSAMPLING
    image = Image.new("RGB", (side, side), PALETTE[scene.background])
    pen = ImageDraw.Draw(image)
    places = _places_on_grid if on_grid else _places
    for figure, place in zip(scene.figures, places(scene, rng), strict=True):
        _draw_figure(pen, figure, place, PALETTE[scene.background])
    return image.resize((SIZE_PX, SIZE_PX), Image.Resampling.BOX)


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
        place = _Place(x=rng.uniform(0, SIZE_PX), y=rng.uniform(0, SIZE_PX), radius=rng.uniform(14, 39))
        _draw_figure(pen, figure, place, ground)
    return image.resize((SIZE_PX, SIZE_PX), Image.Resampling.BOX)


def _places(scene: Scene, rng: random.Random) -> list[_Place]:
    if scene.relation is None:
        return [_single_place(scene.figures[0], rng)]
    dx, dy = _DIRECTION[scene.relation]
    return [_pair_place(sign * dx, sign * dy, rng) for sign in (1, -1)]


def _single_place(figure: Figure, rng: random.Random) -> _Place:
    size = figure.size or rng.choice(("small", "medium", "large"))
    radius = rng.uniform(*_RADIUS_PX[size])
    nearest, farthest = radius + _MARGIN_PX, SIZE_PX - radius - _MARGIN_PX
    if figure.position is None:
        return _Place(x=rng.uniform(nearest, farthest), y=rng.uniform(nearest, farthest), radius=radius)
    near_edge = {-1: (nearest, nearest + 4), 0: (SIZE_PX / 2 - 3, SIZE_PX / 2 + 3), 1: (farthest - 4, farthest)}
    x, y = (rng.uniform(*near_edge[side]) for side in _SIDES[figure.position])
    return _Place(x=x, y=y, radius=radius)


def _pair_place(dx: int, dy: int, rng: random.Random) -> _Place:
    along, across = rng.uniform(27, 33), rng.uniform(-12, 12)
    middle = SIZE_PX / 2
    x = middle + (dx * along if dx else across)
    y = middle + (dy * along if dy else across)
    return _Place(x=x, y=y, radius=rng.uniform(*_PAIR_RADIUS_PX))


def _places_on_grid(scene: Scene, rng: random.Random) -> list[_Place]:
    middle = SIZE_PX // 2
    if scene.relation is not None:
        dx, dy = _DIRECTION[scene.relation]
        return [_pair_place_on_grid(sign * dx, sign * dy, rng) for sign in (1, -1)]
    figure = scene.figures[0]
    size = figure.size or rng.choice(SIZES)
    position = figure.position or "center"
    nearest = math.ceil((_GRID_RADIUS_PX[size] + _MARGIN_PX) / _GRID_PX) * _GRID_PX
    x, y = (middle + side * (middle - nearest) for side in _SIDES[position])
    return [_Place(x=x, y=y, radius=_GRID_RADIUS_PX[size])]


def _pair_place_on_grid(dx: int, dy: int, rng: random.Random) -> _Place:
    along, across = 4 * _GRID_PX, rng.choice((-_GRID_PX, 0, _GRID_PX))
    middle = SIZE_PX / 2
    x = middle + (dx * along if dx else across)
    y = middle + (dy * along if dy else across)
    return _Place(x=x, y=y, radius=_GRID_PAIR_RADIUS_PX)


def _draw_figure(pen: ImageDraw.ImageDraw, figure: Figure, place: _Place, background: tuple[int, int, int]) -> None:
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


def _box(place: _Place, scale: float) -> tuple[float, float, float, float]:
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
