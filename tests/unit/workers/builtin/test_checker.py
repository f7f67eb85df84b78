"""The checker against pictures whose scene is known: what it must accept, and the near misses that it must not."""

from __future__ import annotations

import ast
import io
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from workers.builtin import checker, silhouettes
from workers.builtin.checker import Reading, check, judge, read
from workers.builtin.drawing import draw
from workers.builtin.scenes import (
    COLOURS,
    POSITIONS,
    RELATIONS,
    SHAPES,
    SIZES,
    Colour,
    Figure,
    Scene,
    Shape,
    caption,
    random_scene,
)

T = TypeVar("T")

# Some of them are enough for a change; the others are for how seldom the checker may be wrong.
SHARP_PICTURES = [40, pytest.param(400, marks=pytest.mark.long)]
SOFT_PICTURES = [50, pytest.param(250, marks=pytest.mark.long)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A scene, and what the checker reads in a picture of it."""

    scene: Scene
    reading: Reading


@pytest.fixture(scope="module", params=SHARP_PICTURES)
def sharp(request: pytest.FixtureRequest) -> list[Drawn]:
    rng = random.Random(1)
    scenes = [random_scene(rng) for _ in range(request.param)]
    return [Drawn(scene=scene, reading=read(draw(scene, rng))) for scene in scenes]


@pytest.fixture(scope="module", params=SOFT_PICTURES)
def soft(request: pytest.FixtureRequest) -> list[Drawn]:
    rng = random.Random(2)
    scenes = [random_scene(rng) for _ in range(request.param)]
    return [Drawn(scene=scene, reading=read(_soften(draw(scene, rng), seed))) for seed, scene in enumerate(scenes)]


def test_every_drawn_scene_is_read_as_what_it_is(sharp: Sequence[Drawn]) -> None:
    assert _misread(sharp) == []


def test_a_scene_is_read_through_the_blur_noise_and_loss_of_a_decoder(soft: Sequence[Drawn]) -> None:
    assert len(_misread(soft)) <= 0.02 * len(soft), _misread(soft)


def test_a_caption_with_one_attribute_altered_is_rejected(sharp: Sequence[Drawn]) -> None:
    _reject_altered(sharp)


def test_a_caption_with_one_attribute_altered_is_rejected_through_the_loss_of_a_decoder(soft: Sequence[Drawn]) -> None:
    _reject_altered(soft)


def _reject_altered(pictures: Sequence[Drawn]) -> None:
    asked, accepted = Counter[str](), Counter[str]()
    rng = random.Random(3)
    for drawn in pictures:
        for attribute, altered in _alterations(drawn.scene, rng):
            asked[attribute] += 1
            accepted[attribute] += judge(altered, drawn.reading).all
    assert set(asked) == {"background", "colour", "shape", "size", "position", "relation"}
    assert all(accepted[attribute] <= 0.01 * asked[attribute] for attribute in asked), accepted


def test_the_verdict_names_the_attribute_that_was_altered(sharp: Sequence[Drawn]) -> None:
    part = {"background": "background", "colour": "colours", "shape": "shapes"}
    rng = random.Random(4)
    for drawn in sharp:
        if drawn.scene.relation is None:
            for attribute, altered in _alterations(drawn.scene, rng):
                verdict = judge(altered, drawn.reading)
                wrong = {name for name in ("background", "colours", "shapes", "places") if not getattr(verdict, name)}
                assert wrong == {part.get(attribute, "places")}


def test_colours_swapped_between_the_two_figures_are_seen() -> None:
    scene = _pair("red", "circle", "blue", "square")
    picture = draw(scene, random.Random(5))
    assert check(scene, picture).all
    assert not check(_pair("blue", "circle", "red", "square"), picture).all


def test_figures_are_named_in_any_order_of_their_areas() -> None:
    scene = _pair("black", "star", "black", "square")
    assert check(scene, draw(scene, random.Random(6))).all


@pytest.mark.parametrize(("shown", "asked"), [(1, 2), (2, 1)])
def test_one_figure_too_many_or_too_few_is_neither_right_colours_nor_shapes(shown: int, asked: int) -> None:
    pair = _pair("red", "circle", "red", "circle")
    scenes = {1: Scene(background="white", figures=pair.figures[:1]), 2: pair}
    verdict = check(scenes[asked], draw(scenes[shown], random.Random(7)))
    assert verdict.background
    assert not verdict.colours
    assert not verdict.shapes
    assert verdict.places == (asked == 1)


def test_specks_are_not_figures() -> None:
    scene = _single("yellow", "magenta", "star")
    picture = draw(scene, random.Random(8))
    pen = ImageDraw.Draw(picture)
    for x, y in ((2, 3), (120, 9), (5, 122)):
        pen.rectangle((x, y, x + 4, y + 4), fill="blue")
    assert check(scene, picture).all


def test_a_blurred_edge_through_a_third_hue_is_not_a_figure() -> None:
    scene = _single("yellow", "magenta", "heart")
    picture = draw(scene, random.Random(9)).filter(ImageFilter.GaussianBlur(2))
    assert [figure.colour for figure in read(picture).figures] == ["magenta"]


def test_two_touching_figures_are_told_apart_by_their_colours() -> None:
    picture = Image.new("RGB", (128, 128), "white")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((20, 44, 63, 84), fill="red")
    pen.rectangle((64, 44, 107, 84), fill="blue")
    scene = replace(_pair("red", "square", "blue", "square"), background="white")
    assert check(scene, picture).all


@pytest.mark.parametrize("size", [(64, 64), (96, 96), (256, 256), (512, 512)])
def test_a_picture_of_another_size_reads_the_same(size: tuple[int, int]) -> None:
    rng = random.Random(10)
    for shape in SHAPES:
        scene = _single("cyan", "black", shape)
        assert check(scene, draw(scene, rng).resize(size)).all


def test_a_wide_picture_is_read_without_distortion() -> None:
    picture = Image.new("RGB", (300, 150), "green")
    ImageDraw.Draw(picture).ellipse((220, 50, 270, 100), fill="white")
    scene = Scene(
        background="green", figures=(Figure(colour="white", shape="circle", size="medium", position="right"),)
    )
    assert check(scene, picture).all


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "1", "P"])
@pytest.mark.parametrize("size", [(1, 1), (3, 128), (64, 64), (128, 128), (200, 90), (1000, 1)])
def test_blank_pictures_and_noise_are_read_without_an_error(mode: str, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(11).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    for picture in (Image.new("RGB", size, "orange"), Image.fromarray(noise)):
        assert not check(_single("white", "red", "ring"), picture.convert(mode)).all


def test_a_blank_picture_has_a_background_and_no_figures() -> None:
    assert read(Image.new("RGB", (128, 128), "orange")) == Reading(background="orange", figures=())


def test_a_picture_without_one_border_colour_has_no_background() -> None:
    picture = Image.new("RGB", (128, 128), "red")
    picture.paste("blue", (0, 0, 60, 128))
    assert read(picture).background is None


@pytest.mark.parametrize("grey_brown_or_violet", [(128, 128, 128), (120, 72, 30), (120, 60, 210)])
def test_a_colour_outside_of_the_vocabulary_has_no_name(grey_brown_or_violet: tuple[int, int, int]) -> None:
    assert read(Image.new("RGB", (128, 128), grey_brown_or_violet)).background is None


@pytest.mark.parametrize("module", [checker, silhouettes])
def test_the_checker_shares_only_the_vocabulary_with_the_drawing(module: ModuleType) -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {name for name in imported if name.startswith("workers")}
    assert ours <= {"workers.builtin.scenes", "workers.builtin.silhouettes"}
    assert "torch" not in {name.split(".")[0] for name in imported}


def _misread(pictures: Sequence[Drawn]) -> list[tuple[str, Reading]]:
    return [(caption(drawn.scene), drawn.reading) for drawn in pictures if not judge(drawn.scene, drawn.reading).all]


def _soften(picture: Image.Image, seed: int) -> Image.Image:
    blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(1.2)), dtype=np.float64)
    noisy = blurred + np.random.default_rng(seed).normal(0, 6, blurred.shape)
    encoded = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(encoded, "JPEG", quality=70)
    return Image.open(encoded)


def _alterations(scene: Scene, rng: random.Random) -> Iterator[tuple[str, Scene]]:
    """The scene with one attribute altered, once for every attribute that it states."""
    number = rng.randrange(len(scene.figures))
    figure, inks = scene.figures[number], [figure.colour for figure in scene.figures]

    def alter(altered: Figure) -> Scene:
        return replace(scene, figures=(*scene.figures[:number], altered, *scene.figures[number + 1 :]))

    yield "background", replace(scene, background=_other(COLOURS, (scene.background, *inks), rng))
    yield "colour", alter(replace(figure, colour=_other(COLOURS, (scene.background, figure.colour), rng)))
    yield "shape", alter(replace(figure, shape=_other(SHAPES, (figure.shape,), rng)))
    if figure.size is not None:
        yield "size", alter(replace(figure, size=_other(SIZES, (figure.size,), rng)))
    if figure.position is not None:
        yield "position", alter(replace(figure, position=_other(POSITIONS, (figure.position,), rng)))
    if scene.relation is not None:
        yield "relation", replace(scene, relation=_other(RELATIONS, (scene.relation,), rng))


def _other(values: Sequence[T], taken: Sequence[T], rng: random.Random) -> T:
    return rng.choice([value for value in values if value not in taken])


def _single(background: Colour, colour: Colour, shape: Shape) -> Scene:
    return Scene(background=background, figures=(Figure(colour=colour, shape=shape, size="medium"),))


def _pair(left_colour: Colour, left: Shape, right_colour: Colour, right: Shape) -> Scene:
    figures = (Figure(colour=left_colour, shape=left), Figure(colour=right_colour, shape=right))
    return Scene(background="white", figures=figures, relation="left of")
