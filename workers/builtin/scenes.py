"""
What the built-in model can be asked to draw: scenes, their captions, and which of them training never sees.

A scene is one or two coloured shapes on a coloured background. Held out are whole combinations, not random
samples: a (colour, shape, background) triple by `is_held_out_triple`, and for two shapes also the ordered pair
of shapes with its relation, so that a right picture of a held-out caption was composed, not remembered.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal, get_args

Colour = Literal["red", "green", "blue", "yellow", "cyan", "magenta", "orange", "white", "black"]
Shape = Literal["circle", "square", "triangle", "star", "ring", "cross", "diamond", "heart"]
Size = Literal["small", "medium", "large"]
Position = Literal["center", "left", "right", "top", "bottom", "top left", "top right", "bottom left", "bottom right"]
Relation = Literal["left of", "right of", "above", "below"]

COLOURS: tuple[Colour, ...] = get_args(Colour)
SHAPES: tuple[Shape, ...] = get_args(Shape)
SIZES: tuple[Size, ...] = get_args(Size)
POSITIONS: tuple[Position, ...] = get_args(Position)
RELATIONS: tuple[Relation, ...] = get_args(Relation)

_POSITION_PHRASE: dict[Position, str] = {
    "center": "in the center",
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "top left": "at the top left",
    "top right": "at the top right",
    "bottom left": "at the bottom left",
    "bottom right": "at the bottom right",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One shape of a scene. `size` and `position` are None where the caption leaves them open."""

    colour: Colour
    shape: Shape
    size: Size | None = None
    position: Position | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One figure, or two with the first in `relation` to the second."""

    background: Colour
    figures: tuple[Figure, ...]
    relation: Relation | None = None


def caption(scene: Scene) -> str:
    """The caption of a scene, e.g. "a yellow star left of a cyan ring on a black background"."""
    words = [_phrase(scene.figures[0])]
    if scene.relation is not None:
        words += [scene.relation, _phrase(scene.figures[1])]
    position = scene.figures[0].position
    if position is not None:
        words.append(_POSITION_PHRASE[position])
    return " ".join([*words, "on", _article(scene.background), "background"])


def caption_variant(scene: Scene, rng: random.Random) -> str:
    """The caption in one of the forms in which people write it; most often the plain one."""
    plain = caption(scene)
    what = plain.split(f" on {_article(scene.background)} background")[0]
    forms = (
        plain,
        f"{what}, {scene.background} background",
        f"{what.removeprefix('a ').removeprefix('an ')} on {scene.background}",
        f"{_article(scene.background)} background with {what}",
    )
    return rng.choices(forms, weights=(70, 10, 10, 10))[0]


def is_held_out(scene: Scene) -> bool:
    """True where training never saw this combination. About an eighth of single figures, a third of pairs."""
    if any(is_held_out_triple(figure, scene.background) for figure in scene.figures):
        return True
    if scene.relation is None:
        return False
    first, second = (SHAPES.index(figure.shape) for figure in scene.figures)
    return (first + 3 * second + 2 * RELATIONS.index(scene.relation)) % 9 == 0


def is_held_out_triple(figure: Figure, background: Colour) -> bool:
    """One colour in about nine for each pair of shape and background, spread like a Latin square."""
    return (COLOURS.index(figure.colour) + SHAPES.index(figure.shape) + 2 * COLOURS.index(background)) % 9 == 0


def random_scene(rng: random.Random) -> Scene:
    """A scene of any combination; half with one figure, half with two."""
    background = rng.choice(COLOURS)
    inks = [colour for colour in COLOURS if colour != background]
    if rng.random() < 0.45:
        size = rng.choice(SIZES) if rng.random() < 0.6 else None
        position = rng.choice(POSITIONS) if rng.random() < 0.6 else None
        figure = Figure(colour=rng.choice(inks), shape=rng.choice(SHAPES), size=size, position=position)
        return Scene(background=background, figures=(figure,))
    pairs = [(colour, shape) for colour in inks for shape in SHAPES]
    figures = tuple(Figure(colour=colour, shape=shape) for colour, shape in rng.sample(pairs, 2))
    return Scene(background=background, figures=figures, relation=rng.choice(RELATIONS))


def training_scene(rng: random.Random) -> Scene:
    """A scene that training may see."""
    return next(scene for scene in iter(lambda: random_scene(rng), None) if not is_held_out(scene))


def held_out_scene(rng: random.Random) -> Scene:
    """A scene that training never sees."""
    return next(scene for scene in iter(lambda: random_scene(rng), None) if is_held_out(scene))


def altered(scene: Scene, rng: random.Random) -> Scene:
    """The scene with one thing that it states changed into another, so that no picture shows both."""
    changes = ["background", "colour", "shape"]
    figure = scene.figures[0]
    changes += [name for name in ("size", "position") if getattr(figure, name)]
    changes += ["relation"] if scene.relation else []
    while True:
        changed = _change(scene, rng.choice(changes), rng)
        if changed != scene and _can_be_drawn(changed):
            return changed


def _change(scene: Scene, what: str, rng: random.Random) -> Scene:
    if what == "background":
        return replace(scene, background=rng.choice(COLOURS))
    if what == "relation":
        return replace(scene, relation=rng.choice(RELATIONS))
    choices: dict[str, tuple[str, ...]] = {"colour": COLOURS, "shape": SHAPES, "size": SIZES, "position": POSITIONS}
    index = rng.randrange(len(scene.figures))
    figures = list(scene.figures)
    figures[index] = replace(figures[index], **{what: rng.choice(choices[what])})  # type: ignore[arg-type]
    return replace(scene, figures=tuple(figures))


def _can_be_drawn(scene: Scene) -> bool:
    inks = {figure.colour for figure in scene.figures}
    return scene.background not in inks and (scene.relation is None or scene.figures[0] != scene.figures[1])


def _phrase(figure: Figure) -> str:
    words = [word for word in (figure.size, figure.colour, figure.shape) if word]
    return f"{'an' if words[0][0] in 'aeiou' else 'a'} {' '.join(words)}"


def _article(colour: Colour) -> str:
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour}"
