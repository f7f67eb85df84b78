"""Sizes of an edit, from the picture to what a model works on and to the result."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.catalogue.entry import Limits, Model
from jobs.kinds.canvas import Plan, Region, crop_region, plan, usable_sides


def model(*, usual: tuple[int, int] = (128, 128), **limits: Any) -> Model:
    given_limits = {"min_side": 64, "max_side": 256, "side_multiple": 8, "max_steps": 50, "max_n": 4} | limits
    return Model.model_validate(
        {
            "name": "shapes",
            "source": "made by a test",
            "revision": "1",
            "dtype": "float32",
            "family": "diffusers",  # Of which no multiple is known.
            "defaults": {
                "width": usual[0],
                "height": usual[1],
                "num_inference_steps": 5,
                "guidance_scale": 3.0,
                "scheduler": "ddim",
            },
            "limits": Limits.model_validate(given_limits),
            "schedulers": ("ddim",),
        }
    )


SHAPES = model()
SIZES = st.tuples(st.integers(1, 600), st.integers(1, 600))


@st.composite
def models(draw: st.DrawFn) -> Model:
    multiple = draw(st.sampled_from([1, 8, 16, 32, 64]))
    usual = [multiple * draw(st.integers(1, 512 // multiple)) for _ in range(2)]
    return model(
        usual=(usual[0], usual[1]),
        min_side=draw(st.integers(1, min(usual))),
        max_side=draw(st.integers(max(usual), 700)),
        side_multiple=multiple,
    )


@st.composite
def boxes(draw: st.DrawFn, within: tuple[int, int]) -> Region:
    left, top = (draw(st.integers(0, side - 1)) for side in within)
    return Region(left, top, draw(st.integers(left + 1, within[0])), draw(st.integers(top + 1, within[1])))


@st.composite
def requests(draw: st.DrawFn, entry: Model) -> dict[str, Any]:
    """What may be asked beside a picture."""
    smallest, largest = usable_sides(entry)
    sides = st.integers(smallest, largest)
    asked: dict[str, Any] = {"wanted": draw(st.none() | st.tuples(sides, sides)), "is_masked": draw(st.booleans())}
    if asked["is_masked"]:
        asked["padding_mask_crop"] = draw(st.none() | st.integers(0, 100))
    return asked


def test_picture_that_the_model_takes_is_worked_on_as_it_is() -> None:
    planned = plan((128, 192), SHAPES)
    assert planned.size == planned.scaled == planned.output_size == (128, 192)
    assert planned.region == Region(0, 0, 128, 192)


def test_sides_that_are_no_multiples_are_padded() -> None:
    planned = plan((101, 250), SHAPES)
    assert planned.output_size == planned.scaled == (101, 250)
    assert planned.size == (104, 256)


def test_larger_picture_becomes_smaller_and_keeps_its_proportions() -> None:
    planned = plan((1000, 600), SHAPES)
    assert planned.output_size == planned.scaled == (256, 154)
    assert planned.source == Region(0, 0, 1000, 600)
    assert planned.size == (256, 160)


def test_smaller_picture_is_worked_on_larger_and_gets_its_own_size_back() -> None:
    planned = plan((32, 40), SHAPES)
    assert planned.scaled == (64, 80)
    assert planned.size == (64, 80)
    assert planned.output_size == (32, 40)


def test_picture_of_extreme_proportions_is_padded_where_scaling_has_no_room() -> None:
    planned = plan((600, 3), SHAPES)
    assert planned.output_size == planned.scaled == (256, 1)
    assert planned.size == (256, 64)


def test_picture_fills_the_size_that_is_asked_and_loses_what_is_too_much_on_both_sides() -> None:
    planned = plan((300, 100), SHAPES, wanted=(128, 128))
    assert planned.source == Region(100, 0, 200, 100)
    assert planned.output_size == planned.size == (128, 128)


def test_masked_part_of_a_larger_picture_is_cut_out_at_the_usual_size() -> None:
    planned = plan((1000, 600), SHAPES, is_masked=True, mask_box=Region(500, 200, 700, 400))
    assert planned.output_size == (1000, 600)
    assert planned.region == Region(450, 150, 750, 450)  # A quarter of its side around it.
    assert planned.size == (128, 128)


def test_small_masked_part_of_a_larger_picture_is_not_magnified() -> None:
    planned = plan((1000, 600), SHAPES, is_masked=True, mask_box=Region(0, 300, 10, 310))
    assert planned.region == Region(0, 241, 128, 369)
    assert planned.scaled == (128, 128)


def test_small_masked_part_is_magnified_where_the_margin_is_asked() -> None:
    planned = plan((200, 200), SHAPES, is_masked=True, mask_box=Region(100, 100, 120, 120), padding_mask_crop=6)
    assert planned.region == Region(94, 94, 126, 126)
    assert planned.scaled == planned.size == (128, 128)
    assert planned.output_size == (200, 200)


def test_masked_picture_that_the_model_takes_is_worked_on_whole() -> None:
    planned = plan((200, 200), SHAPES, is_masked=True, mask_box=Region(100, 100, 120, 120))
    assert planned.region == Region(0, 0, 200, 200)


@given(data=st.data(), entry=models(), picture=SIZES)
def test_no_side_is_outside_of_the_limits(data: st.DataObject, entry: Model, picture: tuple[int, int]) -> None:
    asked = data.draw(requests(entry))
    planned = plan(picture, entry, **asked)
    if asked["is_masked"]:
        planned = plan(picture, entry, **asked, mask_box=data.draw(boxes(planned.output_size)))
    limits = entry.limits
    for side, seen in zip(planned.size, planned.scaled, strict=True):
        assert limits.min_side <= side <= limits.max_side
        assert side % limits.side_multiple == 0
        assert 1 <= seen <= side
    assert_inside(planned.region, planned.output_size)
    assert_inside(planned.source, picture)


def assert_inside(region: Region, size: tuple[int, int]) -> None:
    assert 0 <= region.left < region.right <= size[0]
    assert 0 <= region.top < region.bottom <= size[1]


@given(data=st.data(), entry=models(), picture=SIZES)
def test_result_has_the_size_that_is_asked_or_the_pictures(
    data: st.DataObject, entry: Model, picture: tuple[int, int]
) -> None:
    asked = data.draw(requests(entry))
    planned = plan(picture, entry, **asked)
    if asked["wanted"] is not None:
        assert planned.output_size == asked["wanted"]
    elif asked["is_masked"] or max(picture) <= usable_sides(entry)[1]:
        assert planned.output_size == picture
    else:
        assert_same_shape(planned.output_size, picture)
        assert max(planned.output_size) == usable_sides(entry)[1]


def assert_same_shape(size: tuple[int, int], other: tuple[int, int]) -> None:
    """But for rounding to pixels, of which there is always one."""
    factor = max(size) / max(other)
    assert all(abs(side - max(1.0, factor * wanted)) <= 0.5 + 1e-9 for side, wanted in zip(size, other, strict=True))


@given(data=st.data(), entry=models(), picture=SIZES)
def test_plan_is_the_same_where_the_size_of_the_result_is_asked(
    data: st.DataObject, entry: Model, picture: tuple[int, int]
) -> None:
    asked = data.draw(requests(entry)) | {"wanted": None}
    planned = plan(picture, entry, **asked)
    assert plan(picture, entry, **asked | {"wanted": planned.output_size}) == planned


@given(data=st.data(), entry=models(), picture=SIZES)
def test_size_does_not_depend_on_where_the_mask_is(data: st.DataObject, entry: Model, picture: tuple[int, int]) -> None:
    asked = data.draw(requests(entry)) | {"is_masked": True}
    unknown = plan(picture, entry, **asked)
    known = plan(picture, entry, **asked, mask_box=data.draw(boxes(unknown.output_size)))
    assert shown(known) == shown(unknown)


def shown(planned: Plan) -> Any:
    return planned.size, planned.output_size, planned.source


@given(data=st.data(), entry=models(), picture=SIZES)
def test_masked_part_is_in_the_region_with_its_margin(
    data: st.DataObject, entry: Model, picture: tuple[int, int]
) -> None:
    box = data.draw(boxes(picture))
    margin = data.draw(st.integers(0, 50))
    region = plan(picture, entry, is_masked=True, mask_box=box, padding_mask_crop=margin).region
    assert region.left <= max(box.left - margin, 0)
    assert region.top <= max(box.top - margin, 0)
    assert region.right >= min(box.right + margin, picture[0])
    assert region.bottom >= min(box.bottom + margin, picture[1])


# Three times as wide as high at the most, and so small that there is always room: up to 3 × (20 + 2 × 40) pixels.
@given(
    data=st.data(),
    within=st.tuples(st.integers(301, 600), st.integers(301, 600)),
    shape=st.tuples(st.integers(100, 300), st.integers(100, 300)),
    margin=st.integers(0, 40),
)
def test_region_has_the_proportions_that_the_model_takes_where_there_is_room(
    data: st.DataObject, within: tuple[int, int], shape: tuple[int, int], margin: int
) -> None:
    left, top = (data.draw(st.integers(0, side - 20)) for side in within)
    box = Region(left, top, left + data.draw(st.integers(1, 20)), top + data.draw(st.integers(1, 20)))
    region = crop_region(box, within, shape, margin)
    ratio = shape[0] / shape[1]
    assert abs(region.width - ratio * region.height) <= 1 + ratio


@pytest.mark.parametrize("limits", [{"min_side": 65}, {"max_side": 255}, {"min_side": 65, "max_side": 191}])
def test_limits_that_are_no_multiples_are_kept(limits: dict[str, Any]) -> None:
    entry = model(**limits, side_multiple=32)
    for size in [(1, 1), (40, 600), (600, 600), (66, 250)]:
        planned = plan(size, entry)
        assert all(entry.limits.min_side <= side <= entry.limits.max_side for side in planned.size)
