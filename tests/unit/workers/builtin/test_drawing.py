"""The pictures that training sees: on the grid of the latents' cells, and still what their captions say."""

from __future__ import annotations

import random

import numpy as np
import pytest

from workers.builtin.checker import check
from workers.builtin.drawing import draw
from workers.builtin.scenes import Figure, Position, Scene, caption, random_scene


@pytest.mark.parametrize("pictures", [20, pytest.param(200, marks=pytest.mark.long)])
def test_scenes_drawn_on_the_grid_are_read_as_what_they_are(pictures: int) -> None:
    rng = random.Random(1)
    scenes = [random_scene(rng) for _ in range(pictures)]
    assert [caption(scene) for scene in scenes if not check(scene, draw(scene, rng, grid_px=8)).all] == []


@pytest.mark.parametrize("position", ["center", "left", "top right"])
def test_on_the_grid_a_scene_that_leaves_nothing_open_is_one_picture(position: Position) -> None:
    scene = Scene(background="blue", figures=(Figure(colour="red", shape="star", size="small", position=position),))
    first, second = (np.asarray(draw(scene, random.Random(seed), grid_px=8)) for seed in (1, 2))
    assert (first == second).all()
    assert not (np.asarray(draw(scene, random.Random(1))) == first).all()


def test_on_the_grid_a_figure_looks_the_same_in_every_cell() -> None:
    def draw_at(position: Position) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        figure = Figure(colour="green", shape="heart", size="small", position=position)
        return np.asarray(draw(Scene(background="black", figures=(figure,)), random.Random(0), grid_px=8))

    shift = 5 * 8  # from the left edge's place to the center's
    assert (np.roll(draw_at("left"), shift, axis=1) == draw_at("center")).all()
