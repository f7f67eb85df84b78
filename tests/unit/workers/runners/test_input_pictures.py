"""A picture of a caller becomes pixels, or a sentence: the corpus, cut anywhere, and changed at random."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from jobs.inputs.heads import MAX_PIXELS, PictureRefused
from tests.input_pictures import HALF, HEIGHT, NEAR, OF_GRAYS, REFUSED, UPRIGHT, WIDTH, corners, saved
from workers.runners.input_pictures import memory_bytes, read_mask, read_picture, size_of


def test_corpus_has_at_least_sixty_pictures() -> None:
    assert len(UPRIGHT) + len(OF_GRAYS) + len(HALF) + len(REFUSED) >= 60


@pytest.mark.parametrize("name", UPRIGHT)
def test_picture_is_upright_and_has_its_colours(name: str) -> None:
    data = UPRIGHT[name]()
    pixels = read_picture(data)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert pixels.dtype == np.uint8
    assert size_of(data) == (WIDTH, HEIGHT)
    assert_close(pixels, np.asarray(corners()))


@pytest.mark.parametrize("name", OF_GRAYS)
def test_picture_without_colours_is_gray(name: str) -> None:
    pixels = read_picture(OF_GRAYS[name]())
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    gray = np.asarray(corners().convert("L"))
    expected = gray if "white" not in name else 255 * (gray > 100)
    assert_close(pixels[..., 0], expected)


@pytest.mark.parametrize("name", HALF)
def test_what_is_transparent_is_white(name: str) -> None:
    pixels = read_picture(HALF[name]())
    assert (pixels[:, WIDTH // 2 :] == 255).all()
    assert not (pixels[:, : WIDTH // 2] == 255).all()


def test_colours_are_those_of_the_profile() -> None:
    """A profile whose red and blue are the wrong way round shows whether it is looked at."""
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = swapped.replace(b"rXYZ", b"tmpX").replace(b"bXYZ", b"rXYZ").replace(b"tmpX", b"bXYZ")
    pixels = read_picture(saved(corners(), icc_profile=swapped))
    assert_close(pixels[..., ::-1], np.asarray(corners()))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_gets_a_sentence(name: str) -> None:
    make, expected = REFUSED[name]
    data = make()
    assert len(data) < 16 << 20
    with pytest.raises(PictureRefused) as caught:
        read_picture(data)
    assert expected in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_picture_that_ends_anywhere_is_whole_or_refused(kind: str) -> None:
    """Truncated at every eighth byte, and at each of the last."""
    whole = saved(corners(), kind)
    expected = read_picture(whole)
    for end in (*range(0, len(whole) - 32, 8), *range(max(0, len(whole) - 32), len(whole))):
        try:
            pixels = read_picture(whole[:end])
        except PictureRefused:
            continue
        assert np.array_equal(pixels, expected), end


@hypothesis_settings(deadline=None)
@given(data=st.data())
def test_files_that_are_changed_at_random_become_pixels_or_a_sentence(data: st.DataObject) -> None:
    make = data.draw(st.sampled_from(sorted({**UPRIGHT, **OF_GRAYS, **HALF})), label="picture")
    changed = bytearray({**UPRIGHT, **OF_GRAYS, **HALF}[make]())
    for _ in range(data.draw(st.integers(1, 8), label="changes")):
        at = data.draw(st.integers(0, min(len(changed), 400) - 1))
        changed[at] = data.draw(st.integers(0, 255))
    for read in (read_picture, read_mask):
        try:
            made = read(bytes(changed))
        except PictureRefused:
            continue
        assert made.shape[0] * made.shape[1] <= MAX_PIXELS


def test_memory_that_reading_takes_is_known_before() -> None:
    assert memory_bytes(size_of(UPRIGHT["png"]())) >= 3 * WIDTH * HEIGHT


def test_levels_of_sixteen_bits_are_converted_within_the_memory_that_is_counted() -> None:
    side = 2_000
    data = saved(Image.fromarray(np.full((side, side), 65_535, np.uint16)))
    tracemalloc.start()  # Which sees what numpy takes; Pillow's own memory, 2 bytes and 3 a pixel, it does not.
    try:
        assert read_picture(data).min() == 255
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < memory_bytes((side, side)) // 2


# Masks.


@pytest.mark.parametrize(
    "mode", ["1", "L", "RGB", "RGBA", "P", "16 bits"], ids=["bits", "gray", "colour", "opaque", "palette", "deep"]
)
def test_mask_is_where_it_is_white(mode: str) -> None:
    white = np.zeros((HEIGHT, WIDTH), np.uint8)
    white[4:20, 7:30] = 255
    image = (
        Image.fromarray(white.astype(np.uint16) * 257) if mode == "16 bits" else Image.fromarray(white).convert(mode)
    )
    assert np.array_equal(read_mask(saved(image)), white == 255)


def test_mask_with_alpha_is_where_it_is_transparent() -> None:
    clear = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    clear[..., 3] = 255
    clear[4:20, 7:30, 3] = 0
    assert np.array_equal(read_mask(saved(Image.fromarray(clear))), clear[..., 3] == 0)


def test_mask_is_turned_as_its_picture_is() -> None:
    white = Image.new("L", (HEIGHT, WIDTH), 0)
    white.paste(255, (0, 0, HEIGHT, 10))  # Its top, and as it is shown its right side.
    exif = Image.Exif()
    exif[0x0112] = 6
    masked = read_mask(saved(white, exif=exif))
    assert masked.shape == (HEIGHT, WIDTH)
    assert masked[:, -10:].all()
    assert not masked[:, :-10].any()


def assert_close(pixels: np.ndarray, expected: np.ndarray) -> None:
    """In the middle of each corner: what is lossy runs into its neighbour at the edges."""
    for top in (HEIGHT // 4, 3 * HEIGHT // 4):
        for left in (WIDTH // 4, 3 * WIDTH // 4):
            made, wanted = pixels[top, left].astype(int), expected[top, left].astype(int)
            assert (abs(made - wanted) <= NEAR).all(), (top, left, made, wanted)
