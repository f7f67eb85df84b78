"""
What is edited, and what is to become of it: pictures of one figure, and held-out captions of another one.

The pictures are drawn by the code that drew the training's, but not on its grid, as an uploaded picture is not: so a
wrong result is the edit's own and not that of a picture which the model made before, and the encoder has to bring in
what the model has not made itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from PIL import Image

from ops.bench.truth.measures import held_out_scenes
from workers.builtin.drawing import PALETTE, SIZE_PX, draw
from workers.builtin.scenes import COLOURS, POSITIONS, SHAPES, Colour, Figure, Relation, Scene, Size, caption
from workers.runners.edit_work import Mask

Half = Literal["left", "right", "top", "bottom"]

HALVES: tuple[Half, ...] = get_args(Half)

_OPPOSITE: dict[Half, Half] = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
_HALF_OF: dict[Relation, Half] = {"left of": "left", "right of": "right", "above": "top", "below": "bottom"}
_FIT_INTO_A_HALF: tuple[Size, ...] = ("small", "medium")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """
    One edit, and what counts as right.

    Attributes:
        prompt: A held-out caption.
        image: What is edited, RGB, 128 × 128.
        mask: Where it is repainted; None is everywhere.
        shown: What the result is to show.
        whole: Where the figure was erased under the mask, in half: the picture before.
    """

    prompt: str
    image: Image.Image
    mask: Mask | None
    shown: Scene
    whole: Image.Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EditKind:
    """
    Edits of one kind.

    Attributes:
        fits: Whether a held-out scene can be asked for by such an edit.
        make: The case of such a scene; on a grid of so many pixels, where it has to be one that training knows.
        strength: Of each.
        is_unguided: Whether the prompt alone counts, without guidance.
        is_blind: Whether the picture is not shown to the model, and part of a generation is pasted into it: what others
            have to be better than.
        target: The share that is to be right; None where nothing is hoped for.
    """

    name: str
    fits: Callable[[Scene], bool]
    make: Callable[[Scene, random.Random, int], Case]
    strength: float = 1.0
    is_unguided: bool = False
    is_blind: bool = False
    target: float | None = 0.9


def cases_of(kind: EditKind, count: int, seed: int, grid_px: int = 8) -> list[Case]:
    """So many cases with distinct captions; kinds that ask for the same scenes have the same cases."""
    rng = random.Random(seed)
    return [kind.make(scene, rng, grid_px) for scene in held_out_scenes(kind.fits, count, rng)]


def masked_half(half: Half) -> Mask:
    """The mask of half of a picture, (128, 128)."""
    mask = np.zeros((SIZE_PX, SIZE_PX), dtype=np.bool_)
    near, far = slice(None, SIZE_PX // 2), slice(SIZE_PX // 2, None)
    across = {"left": near, "right": far}.get(half, slice(None))
    down = {"top": near, "bottom": far}.get(half, slice(None))
    mask[down, across] = True
    return mask


def _is_beside_another(scene: Scene) -> bool:
    return scene.relation is not None


def _is_in_a_half(scene: Scene) -> bool:
    (figure, *others) = scene.figures
    return not others and figure.size in _FIT_INTO_A_HALF and figure.position not in (None, "center")


def _is_single(scene: Scene) -> bool:
    return len(scene.figures) == 1


def _is_cut_by_the_middle(scene: Scene) -> bool:
    figure = scene.figures[0]
    return _is_single(scene) and figure.size is None and figure.position in (None, "center", "top", "bottom")


def _add_beside(scene: Scene, rng: random.Random, _grid_px: int) -> Case:
    """The second figure of the caption is there; the first is to be painted beside it."""
    assert scene.relation is not None, "as `_is_beside_another` has it"  # noqa: S101
    half, there = _HALF_OF[scene.relation], scene.figures[1]
    drawn = replace(there, size=rng.choice(_FIT_INTO_A_HALF), position=_OPPOSITE[half])
    image = draw(Scene(background=scene.background, figures=(drawn,)), rng)
    return Case(prompt=caption(scene), image=image, mask=masked_half(half), shown=scene)


def _add_in_half(scene: Scene, rng: random.Random, _grid_px: int) -> Case:
    """The caption says nothing of the figure that is there."""
    (new,) = scene.figures
    words = str(new.position).split()
    half = rng.choice([each for each in HALVES if each in words])
    there = Figure(
        colour=_other_colour(scene, rng),
        shape=rng.choice(SHAPES),
        size=rng.choice(_FIT_INTO_A_HALF),
        position=rng.choice([each for each in POSITIONS if _OPPOSITE[half] in each.split()]),
    )
    image = draw(Scene(background=scene.background, figures=(there,)), rng)
    shown = Scene(background=scene.background, figures=(new, there))
    return Case(prompt=caption(scene), image=image, mask=masked_half(half), shown=shown)


def _recolour(scene: Scene, rng: random.Random, _grid_px: int) -> Case:
    """The figure of the caption is there in another colour."""
    (figure,) = scene.figures
    image = draw(replace(scene, figures=(replace(figure, colour=_other_colour(scene, rng)),)), rng)
    return Case(prompt=caption(scene), image=image, mask=None, shown=scene)


def _complete(scene: Scene, rng: random.Random, grid_px: int) -> Case:
    """
    The figure of the caption is there, but for the half of it that is erased and masked.

    The half that stays shows the size, and where the caption leaves it open, the place. It is on the training's grid:
    of other places the model knows nothing.
    """
    (figure,) = scene.figures
    there = replace(scene, figures=(replace(figure, position=figure.position or "center"),))
    mask = masked_half(rng.choice(("left", "right")))
    whole = draw(there, rng, grid_px=grid_px)
    ground = np.array(PALETTE[scene.background], dtype=np.uint8)
    image = Image.fromarray(np.where(mask[..., None], ground, np.asarray(whole)))
    return Case(prompt=caption(scene), image=image, mask=mask, shown=there, whole=whole)


def _other_colour(scene: Scene, rng: random.Random) -> Colour:
    taken = (scene.background, scene.figures[0].colour)
    return rng.choice([colour for colour in COLOURS if colour not in taken])


EDIT_KINDS = (
    EditKind(
        name="inpainting, prompt of both figures",
        fits=_is_beside_another,
        make=_add_beside,
    ),
    # Guidance multiplies what a prompt of one figure and a picture of another have against each other.
    EditKind(
        name="inpainting, prompt of the new one, no guidance",
        fits=_is_in_a_half,
        make=_add_in_half,
        is_unguided=True,
    ),
    EditKind(
        name="inpainting, prompt of the new one",
        fits=_is_in_a_half,
        make=_add_in_half,
        target=None,
    ),
    EditKind(
        name="inpainting of half a figure, no guidance",
        fits=_is_cut_by_the_middle,
        make=_complete,
        is_unguided=True,
        target=None,
    ),
    EditKind(
        name="the same, and the model does not see the other half",
        fits=_is_cut_by_the_middle,
        make=_complete,
        is_unguided=True,
        is_blind=True,
        target=None,
    ),
    EditKind(
        name="another colour, strength 0.8",
        fits=_is_single,
        make=_recolour,
        strength=0.8,
    ),
)
