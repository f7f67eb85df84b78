"""What `bench truth --edit` asks for and what it counts, on drawn pictures that are right and on near misses."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from rich.console import Console

from jobs.catalogue.catalogue import Catalogue
from ops.bench.truth.edit_cases import EDIT_KINDS, HALVES, Case, EditKind, cases_of, masked_half
from ops.bench.truth.edits import Result, Sample, edits_of, judge, to_table
from ops.bench.truth.measures import Measure, altered_refused
from ops.bench.truth.subjects import SUBJECTS
from workers.builtin.drawing import PALETTE, draw
from workers.builtin.scenes import (
    COLOURS,
    RELATIONS,
    SHAPES,
    SIZES,
    Figure,
    Position,
    Relation,
    Scene,
    Size,
    caption,
    is_held_out,
)

MODELS = Path(__file__).resolve().parents[3] / "models.toml"
BESIDE, UNGUIDED, GUIDED, HALVED, BLIND, RECOLOURED = EDIT_KINDS
SIDES: dict[Relation, Position] = {"left of": "left", "right of": "right", "above": "top", "below": "bottom"}

Change = Callable[[Case], Any]


@cache
def cases(kind: EditKind) -> list[Case]:
    return cases_of(kind, 12, seed=7)


def new_figure(case: Case) -> Figure:
    """As it is to be drawn: the size is open beside another one, the place said by the relation."""
    figure = case.shown.figures[0]
    if case.shown.relation is None:
        return figure
    return replace(figure, size="small", position=SIDES[case.shown.relation])


def edited(case: Case, figure: Figure | None = None) -> Any:
    """What a perfect edit that paints this figure makes, (128, 128, 3)."""
    if case.whole is not None:
        return np.asarray(case.whole)
    scene = Scene(background=case.shown.background, figures=(figure or new_figure(case),))
    painted = np.asarray(draw(scene, random.Random(1)))
    return painted.copy() if case.mask is None else merged(case, painted)


def outside(case: Case) -> Any:
    """Of its mask, (128, 128)."""
    assert case.mask is not None
    return ~case.mask


def merged(case: Case, painted: Any) -> Any:
    """Painted where the mask is."""
    return np.where(outside(case)[..., None], np.asarray(case.image), painted)


def other(values: tuple[Any, ...], *taken: Any) -> Any:
    return next(each for each in values if each not in taken)


def taken_colours(case: Case) -> list[str]:
    return [case.shown.background, *(figure.colour for figure in case.shown.figures)]


def test_what_is_asked_was_never_trained_on_and_is_asked_once() -> None:
    for kind in EDIT_KINDS:
        prompts = {case.prompt for case in cases(kind)}
        assert len(prompts) == 12
        for case in cases(kind):
            asked = case.shown if kind is BESIDE else replace(case.shown, figures=case.shown.figures[:1])
            anywhere = replace(asked, figures=(replace(asked.figures[0], position=None), *asked.figures[1:]))
            assert is_held_out(asked)
            assert case.prompt in (caption(asked), caption(anywhere) if case.whole else None)


def test_seed_selects_the_cases() -> None:
    assert [each.prompt for each in cases_of(GUIDED, 3, seed=1)] != [
        each.prompt for each in cases_of(GUIDED, 3, seed=2)
    ]
    for kind, same in ((GUIDED, UNGUIDED), (HALVED, BLIND)):
        assert [each.prompt for each in cases(kind)] == [each.prompt for each in cases(same)]


@pytest.mark.parametrize("half", HALVES)
def test_mask_is_half_of_the_picture(half: Any) -> None:
    rows, columns = np.nonzero(masked_half(half))
    assert len(rows) == 128 * 64
    edge = {
        "left": columns.min() == 0,
        "right": columns.max() == 127,
        "top": rows.min() == 0,
        "bottom": rows.max() == 127,
    }
    assert edge[half]
    assert np.ptp(columns if half in ("left", "right") else rows) == 63


@pytest.mark.parametrize("kind", [BESIDE, GUIDED])
def test_masked_half_of_the_picture_is_empty_and_the_other_is_not(kind: EditKind) -> None:
    for case in cases(kind):
        pixels, ground = np.asarray(case.image), np.array(PALETTE[case.shown.background])
        assert (pixels[~outside(case)] == ground).all()
        assert (pixels[outside(case)] != ground).any()


def test_picture_has_the_figure_of_the_prompt_in_another_colour() -> None:
    for case in cases(RECOLOURED):
        shows = judge(case, np.asarray(case.image)).shows
        assert (shows.background, shows.shapes, shows.places, shows.colours) == (True, True, True, False)


def test_edits_have_the_defaults_of_the_model_but_for_what_their_kind_says() -> None:
    catalogue = Catalogue.read(MODELS)
    for kind, guidance_scale in ((UNGUIDED, 1.0), (GUIDED, 3.0)):
        (edit, *_) = edits_of(kind, cases(kind), catalogue, SUBJECTS["shapes"])
        assert (edit.spec.strength, edit.spec.guidance_scale, edit.spec.num_inference_steps) == (
            1.0,
            guidance_scale,
            20,
        )
    assert edits_of(RECOLOURED, cases(RECOLOURED), catalogue, SUBJECTS["shapes"])[0].spec.strength == 0.8


@pytest.mark.parametrize("kind", [BESIDE, GUIDED, HALVED, RECOLOURED])
def test_perfect_edit_is_right(kind: EditKind) -> None:
    for case in cases(kind):
        sample = judge(case, edited(case))
        assert sample.is_right, (case.prompt, sample.shows)


@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_picture_that_nobody_edited_is_not(kind: EditKind) -> None:
    for case in cases(kind):
        assert not judge(case, np.asarray(case.image)).is_right


def in_another_colour(case: Case) -> Any:
    return edited(case, replace(new_figure(case), colour=other(COLOURS, *taken_colours(case))))


def in_another_shape(case: Case) -> Any:
    return edited(case, replace(new_figure(case), shape=other(SHAPES, case.shown.figures[0].shape)))


def on_the_border_of_the_mask(case: Case) -> Any:
    """Half of it lies outside, where the picture stays."""
    return edited(case, replace(new_figure(case), position="center"))


def over_the_kept_figure(case: Case) -> Any:
    """With background."""
    pixels = edited(case)
    pixels[outside(case)] = PALETTE[case.shown.background]
    return pixels


def with_one_more_figure(case: Case) -> Any:
    image = Image.fromarray(edited(case))
    ImageDraw.Draw(image).ellipse((56, 56, 72, 72), fill=PALETTE[other(COLOURS, *taken_colours(case))])
    return np.asarray(image)


def with_another_background(case: Case) -> Any:
    pixels = edited(case)
    pixels[(pixels == PALETTE[case.shown.background]).all(axis=-1)] = PALETTE[other(COLOURS, *taken_colours(case))]
    return pixels


@pytest.mark.parametrize("kind", [BESIDE, GUIDED])
@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (in_another_colour, {"colours"}),
        (in_another_shape, {"shapes"}),
        (over_the_kept_figure, {"colours", "shapes"}),
        (with_one_more_figure, {"colours", "shapes"}),
        (with_another_background, {"background"}),
    ],
)
def test_near_miss_of_inpainting_is_seen(kind: EditKind, change: Change, parts: set[str]) -> None:
    for case in cases(kind):
        shows = judge(case, change(case)).shows
        wrong = {part for part in ("background", "colours", "shapes") if not getattr(shows, part)}
        assert parts <= wrong, case.prompt


@pytest.mark.parametrize("kind", [BESIDE, GUIDED])
def test_figure_that_is_cut_by_the_border_of_the_mask_is_not_right(kind: EditKind) -> None:
    taken = [case.prompt for case in cases(kind) if judge(case, on_the_border_of_the_mask(case)).is_right]
    assert len(taken) <= 1, taken  # Half a diamond is still nearest to one.


def test_erased_half_of_a_figure_is_to_have_its_size() -> None:
    """Whatever the caption leaves open: the half that stays tells."""
    for case in cases(HALVED):
        (figure,) = case.shown.figures
        sizes = {size: draw(with_size(case.shown, size), random.Random(1), grid_px=8) for size in SIZES}
        made = {size: judge(case, merged(case, np.asarray(image))) for size, image in sizes.items()}
        assert [each.is_completed for each in made.values()].count(True) == 1, figure


def with_size(scene: Scene, size: Size) -> Scene:
    return replace(scene, figures=(replace(scene.figures[0], size=size),))


@pytest.mark.parametrize(("change", "part"), [(in_another_colour, "colours"), (in_another_shape, "shapes")])
def test_near_miss_of_another_colour_is_seen(change: Change, part: str) -> None:
    for case in cases(RECOLOURED):
        shows = judge(case, change(case)).shows
        assert [each for each in ("background", "colours", "shapes") if not getattr(shows, each)] == [part]


@pytest.mark.parametrize("kind", [BESIDE, GUIDED])
def test_one_level_of_one_channel_outside_of_the_mask_is_seen(kind: EditKind) -> None:
    for case in cases(kind):
        pixels = edited(case)
        row, column = np.argwhere(outside(case))[100]
        pixels[row, column, 1] ^= 1
        sample = judge(case, pixels)
        assert sample.shows.all
        assert not sample.is_kept
        assert not sample.is_right


def test_counts_are_of_their_parts_and_the_whole() -> None:
    case, second, third = cases(BESIDE)[:3]
    touched = edited(third)
    touched[outside(third)] ^= 1
    samples = [judge(case, edited(case)), judge(second, in_another_colour(second)), judge(third, touched)]
    result = Result(kind=BESIDE, samples=samples)
    counts = {each.name: (each.right, each.of) for each in result.parts()}
    assert counts["colours"] == counts["outside of the mask"] == (2, 3)
    assert counts["shapes"] == (3, 3)
    assert (result.right.right, result.right.of) == (1, 3)
    assert result.is_met is False
    assert Result(kind=BESIDE, samples=samples[:1]).is_met is True
    assert Result(kind=GUIDED, samples=samples).is_met is None


def test_table_has_a_line_for_each_kind_and_says_where_there_is_no_such_part() -> None:
    results = [Result(kind=kind, samples=[right_sample(kind)]) for kind in (BESIDE, HALVED, RECOLOURED)]
    printed = io.StringIO()
    Console(file=printed, width=200).print(to_table(results))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.getvalue().splitlines()]
    whole = "100.0% (20.7% to 100.0%)"
    assert [BESIDE.name, *"111111", "–", whole, "≥ 90%", "yes"] in lines
    assert [HALVED.name, *"1111111", whole, "", ""] in lines
    assert [RECOLOURED.name, *"11111", "–", "–", whole, "≥ 90%", "yes"] in lines


def right_sample(kind: EditKind) -> Sample:
    case = cases(kind)[0]
    return judge(case, edited(case))


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [(0, 10, 0.0, 0.2775), (90, 100, 0.8256, 0.9448), (100, 100, 0.9630, 1.0), (1, 2, 0.0945, 0.9055)],
)
def test_interval_is_that_of_wilson(right: int, of: int, low: float, high: float) -> None:
    assert Measure(name="", right=right, of=of).interval == pytest.approx((low, high), abs=5e-5)


def test_altered_captions_of_right_edits_are_refused() -> None:
    right = [(case.shown, Image.fromarray(edited(case))) for kind in EDIT_KINDS for case in cases(kind)]
    checked = altered_refused(right, random.Random(3))
    assert (checked.right, checked.of) == (72, 72)


def test_all_relations_and_halves_are_asked_for() -> None:
    assert {case.shown.relation for case in cases_of(BESIDE, 40, seed=0)} == set(RELATIONS)
    masks = {case.mask.tobytes() for case in cases_of(GUIDED, 40, seed=0) if case.mask is not None}
    assert masks == {masked_half(half).tobytes() for half in HALVES}
