"""Pixels of an edit, from the input picture to what a model works on, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from diffusers.image_processor import VaeImageProcessor
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jobs.catalogue.entry import Limits, Model
from jobs.kinds.canvas import Region, crop_region
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, make_adapter, make_engine, run, submit
from workers.runners.canvas import Mask, Pixels, box_of, held_bytes, lay_out, paste_bytes, scale_mask
from workers.runners.edit_work import edit_of

pytestmark = pytest.mark.filterwarnings(QUIET)

SIDES = st.integers(1, 600)
SIZES = st.tuples(SIDES, SIDES)
FURTHER_SIZES = ((40, 48), (5, 90), (700, 30))


def model(usual: tuple[int, int] = (128, 128), multiple: int = 8, max_side: int = 256) -> Model:
    entry = tiny.model("shapes")
    defaults = entry.defaults.model_copy(update={"width": usual[0], "height": usual[1]})
    limits = Limits(min_side=64, max_side=max_side, side_multiple=multiple, max_steps=50, max_n=4)
    return tiny.model("shapes", defaults=defaults, limits=limits)


SHAPES = model()


def noise(size: tuple[int, int], seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


@st.composite
def masks(draw: st.DrawFn, size: tuple[int, int]) -> Mask:
    """Rectangles, single pixels, all, nothing, at random: everything that a person or a program may paint."""
    mask = np.zeros((size[1], size[0]), dtype=bool)
    for _ in range(draw(st.integers(0, 3))):
        left, top = (draw(st.integers(0, side - 1)) for side in size)
        right, bottom = (draw(st.integers(low + 1, side)) for low, side in zip((left, top), size, strict=True))
        mask[top:bottom, left:right] = True
    density = draw(st.sampled_from([0.0, 0.0, 0.001, 0.5, 1.0]))
    return mask | (np.random.default_rng(draw(st.integers(0, 99))).random(mask.shape) < density)


@given(data=st.data(), size=SIZES, margin=st.none() | st.integers(0, 60), multiple=st.sampled_from([8, 16, 64]))
def test_pixels_outside_of_the_mask_are_those_of_the_picture(
    data: st.DataObject, size: tuple[int, int], margin: int | None, multiple: int
) -> None:
    image, mask = noise(size), data.draw(masks(size))
    canvas = lay_out(image, mask, model(multiple=multiple), padding_mask_crop=margin)
    result = canvas.paste(255 - canvas.cut())
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    assert np.array_equal(result[~mask], image[~mask])


@given(data=st.data(), size=SIZES)
def test_all_that_is_masked_is_repainted(data: st.DataObject, size: tuple[int, int]) -> None:
    """Of the model's colour, and where the model was asked to repaint."""
    mask = data.draw(masks(size))
    canvas = lay_out(np.zeros((size[1], size[0], 3), dtype=np.uint8), mask, SHAPES)
    result = canvas.paste(np.full_like(canvas.cut(), 200))
    assert (result[mask] == 200).all()
    region, asked = canvas.plan.region, canvas.cut_mask()
    assert asked is not None
    width, height = canvas.plan.scaled
    rows, columns = np.nonzero(mask[region.top : region.bottom, region.left : region.right])
    assert len(rows) == mask.sum()
    for row, column in ((rows, columns), (rows + 0.999, columns + 0.999)):  # Of each pixel, the first and the last.
        at = (row * height / region.height).astype(int), (column * width / region.width).astype(int)
        assert asked[at].all()


@given(size=SIZES, wanted=st.none() | st.tuples(st.integers(8, 32), st.integers(8, 32)))
def test_what_the_model_works_on_has_the_planned_size(size: tuple[int, int], wanted: tuple[int, int] | None) -> None:
    wanted = (8 * wanted[0], 8 * wanted[1]) if wanted else None
    canvas = lay_out(noise(size), np.ones((size[1], size[0]), dtype=bool), SHAPES, wanted=wanted)
    width, height = canvas.plan.size
    mask = canvas.cut_mask()
    assert canvas.cut().shape == (height, width, 3)
    assert mask is not None
    assert mask.shape == (height, width)
    assert canvas.image.shape == (canvas.plan.output_size[1], canvas.plan.output_size[0], 3)


@given(size=st.tuples(st.integers(64, 256), st.integers(64, 256)), multiple=st.sampled_from([1, 8, 64]))
def test_picture_that_is_not_changed_comes_back(size: tuple[int, int], multiple: int) -> None:
    image = noise(size)
    canvas = lay_out(image, None, model(multiple=multiple))
    assert np.array_equal(canvas.paste(canvas.cut()), image)
    assert canvas.cut_mask() is None


def test_padding_repeats_what_is_at_the_edge() -> None:
    image, mask = noise((101, 70)), np.zeros((70, 101), dtype=bool)
    mask[:, 90:] = True
    canvas = lay_out(image, mask, SHAPES)
    cut, cut_mask = canvas.cut(), canvas.cut_mask()
    assert cut_mask is not None
    assert cut.shape == (72, 104, 3)
    assert np.array_equal(cut[:70, :101], image)
    assert (cut[:70, 101:] == image[:, 100:]).all()
    assert (cut[70:, :101] == image[69:]).all()
    assert cut_mask[:, 90:].all()
    assert not cut_mask[:, :90].any()


def test_picture_in_another_shape_is_not_stretched() -> None:
    """A circle stays one."""
    y, x = np.mgrid[:100, :300]
    image = np.repeat((((x - 150) ** 2 + (y - 50) ** 2 < 40**2) * 255).astype(np.uint8)[..., None], 3, axis=-1)
    cut = lay_out(image, None, SHAPES, wanted=(128, 128)).cut()[..., 0] > 127
    width, height = cut.any(axis=0).sum(), cut.any(axis=1).sum()
    assert abs(int(width) - int(height)) <= 1
    assert abs(int(width) - 102) <= 2


def test_mask_follows_the_picture_into_another_shape() -> None:
    image = np.zeros((100, 300, 3), dtype=np.uint8)
    image[20:40, 180:200] = 255
    canvas = lay_out(image, image[..., 0] > 0, SHAPES, wanted=(200, 200))
    assert canvas.mask is not None
    assert box_of(canvas.mask) == Region(160, 40, 200, 80)
    assert (canvas.image[44:76, 164:196] > 200).all()


@pytest.mark.parametrize("mask_size", [(80, 40), (400, 200), (200, 200)])
def test_mask_of_another_size_is_stretched_over_the_picture(mask_size: tuple[int, int]) -> None:
    mask = np.zeros((mask_size[1], mask_size[0]), dtype=bool)
    mask[mask_size[1] // 2 :, : mask_size[0] // 4] = True
    canvas = lay_out(noise((200, 100)), mask, SHAPES)
    assert canvas.mask is not None
    assert box_of(canvas.mask) == Region(0, 50, 50, 100)
    assert canvas.mask.sum() == 50 * 50


def test_thin_line_does_not_vanish_from_a_mask_that_becomes_smaller() -> None:
    mask = np.zeros((1000, 1000), dtype=bool)
    mask[:, 777] = True
    assert scale_mask(mask, (100, 100))[:, 77].all()
    assert scale_mask(mask, (100, 100)).sum() == 100


@pytest.mark.parametrize(
    ("mask", "scaled"), [("#.", "##."), (".#", ".##"), ("#..", "#."), (".#.", "##"), ("..#..", ".#."), ("#....", "#..")]
)
def test_pixel_that_is_masked_in_part_is_masked(mask: str, scaled: str) -> None:
    row = np.array([[each == "#" for each in mask]])
    made = scale_mask(row, (len(scaled), 1))
    assert "".join("#" if each else "." for each in made[0]) == scaled
    assert np.array_equal(scale_mask(row.T, (1, len(scaled))), made.T)


@given(data=st.data(), size=SIZES, to=SIZES)
def test_mask_in_another_size_has_something_where_it_had(
    data: st.DataObject, size: tuple[int, int], to: tuple[int, int]
) -> None:
    mask = data.draw(masks(size))
    scaled = scale_mask(mask, to)
    assert scaled.shape == (to[1], to[0])
    if to[0] <= size[0] and to[1] <= size[1]:
        assert scaled.any() == mask.any()
    if to[0] >= size[0] and to[1] >= size[1]:
        assert scale_mask(scaled, size)[mask].all()


@given(data=st.data(), size=st.tuples(st.integers(1, 60), st.integers(1, 60)), factor=st.integers(2, 9))
def test_mask_that_was_larger_for_a_while_is_the_same(data: st.DataObject, size: tuple[int, int], factor: int) -> None:
    mask = data.draw(masks(size))
    larger = scale_mask(mask, (factor * size[0], factor * size[1]))
    assert larger.sum() == factor**2 * mask.sum()
    assert np.array_equal(scale_mask(larger, size), mask)


def test_nothing_is_masked_by_an_empty_mask() -> None:
    image = noise((700, 300))
    canvas = lay_out(image, np.zeros((300, 700), dtype=bool), SHAPES)
    assert box_of(np.zeros((3, 3), dtype=bool)) is None
    assert np.array_equal(canvas.paste(255 - canvas.cut()), image)


def test_memory_is_for_all_that_there_is_at_a_time() -> None:
    canvas = lay_out(noise((700, 300)), np.ones((300, 700), dtype=bool), SHAPES)
    assert canvas.mask is not None
    held, result = canvas.image.nbytes + canvas.mask.nbytes, canvas.paste(canvas.cut())
    in_the_making = 4 * 700 * 300  # As Pillow holds a pixel.
    assert held_bytes((700, 300)) == held
    assert paste_bytes((700, 300)) == 2 * result.nbytes + in_the_making


@pytest.mark.parametrize("size", [(41, 47), *(pytest.param(each, marks=pytest.mark.long) for each in FURTHER_SIZES)])
@pytest.mark.parametrize("margin", [None, 3])
def test_picture_of_any_size_goes_through_a_model_and_keeps_what_is_not_masked(
    size: tuple[int, int], margin: int | None
) -> None:
    adapter = make_adapter("stable-diffusion")
    image, mask = noise(size), np.zeros((size[1], size[0]), dtype=bool)
    mask[size[1] // 3 :, size[0] // 2 :] = True
    canvas = lay_out(image, mask, adapter.entry, padding_mask_crop=margin)
    spec = tiny.spec(adapter.entry, width=canvas.plan.width, height=canvas.plan.height, num_inference_steps=2)
    engine = make_engine(adapter)
    ticket = submit(engine, edit_of(spec, canvas.cut(), canvas.cut_mask(), strength=1.0))
    run(engine, ticket)
    result = canvas.paste(ticket.result()[0])
    assert np.array_equal(result[~mask], image[~mask])
    assert not np.array_equal(result[mask], image[mask])


# As diffusers has it.


@given(data=st.data(), size=SIZES, shape=SIZES, margin=st.integers(0, 80))
def test_region_is_that_of_diffusers(
    data: st.DataObject, size: tuple[int, int], shape: tuple[int, int], margin: int
) -> None:
    mask = data.draw(masks(size).filter(lambda mask: bool(mask.any())))
    box = box_of(mask)
    assert box is not None
    levels = Image.fromarray(mask.astype(np.uint8) * 255)
    expected = VaeImageProcessor.get_crop_region(levels, *shape, pad=margin)
    assert crop_region(box, size, shape, margin) == Region(*expected)


def cropped_by_diffusers(canvas: Any, image: Pixels, region: Region, size: tuple[int, int]) -> Pixels:
    """As its inpainting pipelines prepare a picture with `padding_mask_crop`."""
    crop = (region.left, region.top, region.right, region.bottom)
    cut = Image.fromarray(image).crop(crop)
    return np.asarray(canvas.resize(cut, height=size[1], width=size[0], resize_mode="fill"))


def test_region_is_cut_and_pasted_as_diffusers_does() -> None:
    processor = VaeImageProcessor(vae_scale_factor=8)
    image, mask = noise((640, 480)), np.zeros((480, 640), dtype=bool)
    mask[200:260, 300:360] = True
    canvas = lay_out(image, mask, SHAPES, padding_mask_crop=20)
    region = canvas.plan.region
    assert region == Region(280, 180, 380, 280)
    assert np.array_equal(canvas.cut(), cropped_by_diffusers(processor, image, region, (128, 128)))
    made = noise((128, 128), seed=1)
    expected = processor.apply_overlay(
        Image.fromarray(mask.astype(np.uint8) * 255),
        Image.fromarray(image),
        Image.fromarray(made),
        (region.left, region.top, region.right, region.bottom),
    )
    assert np.array_equal(canvas.paste(made), np.asarray(expected))
