"""
Pictures that callers sent, opened: within bounds, upright, in sRGB, and nothing but pixels.

Whatever is in a file, it becomes pixels or a sentence about it. How large it is is known before anything is decoded.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from jobs.inputs.heads import MAX_PIXELS, Head, PictureRefused, head_of
from workers.runners.bands import bands

FORMATS = ("PNG", "JPEG", "WEBP")

# Of each pixel while a picture is read, at the worst, which is a WebP: its decoder has four pictures and Pillow one. Of
# others: 10 of a progressive JPEG, else 9. (Pillow 13, 4000², all of the corpus' forms: tests/system/edit_memory.py.)
_BYTES_PER_PIXEL = 17

_BACKGROUND = (255, 255, 255)  # Of what is transparent.
_IS_PAINTED = 128  # Levels of a mask from here on are white.

# By orientation (Exif 2.32, 4.6.4 A).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow raises, for what is wrong in a file: found by trying (`test_input_pictures` changes files at random).
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError, struct.error, zlib.error)

Pixels = NDArray[np.uint8]


def size_of(data: bytes) -> tuple[int, int]:
    """
    Width and height of a picture as it is shown, by its head alone.

    Raises:
        PictureRefused: It is none, or too large.
    """
    head = head_of(data)
    return head.width, head.height


def memory_bytes(size: tuple[int, int]) -> int:
    """How much memory reading a picture of so many pixels takes, at the worst."""
    return _BYTES_PER_PIXEL * size[0] * size[1]


def read_picture(data: bytes) -> Pixels:
    """
    Pixels of a PNG, JPEG or WebP file, uint8 (height, width, 3), sRGB.

    Its orientation is applied, its colour profile too; what is transparent is white; of an animation, it is the first
    frame; levels of 16 bits become those of 8.

    Raises:
        PictureRefused: It is no such file, broken, or too large.
    """
    with _opened(data) as image:
        pixels = np.empty((image.height, image.width, 3), np.uint8)
        for rows, band in bands(image):
            pixels[rows] = np.asarray(_flattened(_in_srgb(band)))
        return pixels


def read_mask(data: bytes) -> NDArray[np.bool_]:
    """
    Where a mask says that a picture is to be repainted, (height, width).

    That is where it is white; or, of one with an alpha channel that is used, where it is transparent, as OpenAI's
    clients have it.

    Raises:
        PictureRefused: As of `read_picture`.
    """
    with _opened(data) as image:
        if _has_alpha(image) and (mask := _mask_of(image, _is_clear)).any():
            return mask
        return _mask_of(image, _is_white)


def _mask_of(image: Image.Image, is_painted: Callable[[Image.Image], NDArray[np.bool_]]) -> NDArray[np.bool_]:
    mask = np.empty((image.height, image.width), np.bool_)
    for rows, band in bands(image):
        mask[rows] = is_painted(band)
    return mask


def _is_clear(band: Image.Image) -> NDArray[np.bool_]:
    return np.asarray(band.convert("RGBA"))[..., 3] < _IS_PAINTED


def _is_white(band: Image.Image) -> NDArray[np.bool_]:
    return np.asarray(_levels(band).convert("L")) >= _IS_PAINTED


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Upright. Its head has been read; what goes wrong with the rest is raised as one of `PictureRefused`, too."""
    head = head_of(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of sizes, which are looked at here, and of odd metadata.
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.size != head.stored:
                    raise PictureRefused("the file is broken: it says two sizes")
                yield _upright(image, head)
    except PictureRefused:
        raise
    except UnidentifiedImageError as exc:
        raise PictureRefused("this is no PNG, JPEG or WebP file") from exc
    except Image.DecompressionBombError as exc:
        raise PictureRefused(f"it has more than {MAX_PIXELS:,} pixels") from exc
    except _BROKEN as exc:
        raise PictureRefused("the file is broken or not complete") from exc


def _upright(image: Image.Image, head: Head) -> Image.Image:
    """
    Turned as its head says, which is what its size was read from.

    Pillow's `exif_transpose` follows XMP and ImageMagick's text chunks as well, which browsers do not.
    """
    image.seek(0)
    image.load()  # All of it, or it is broken: half a picture is none.
    way = _UPRIGHT.get(head.orientation)
    if way is None:
        return image
    turned = image.transpose(way)
    image.close()  # Or there would be both while it is read.
    return turned


def _levels(image: Image.Image) -> Image.Image:
    """Of 8 bits, where there are more: in place, for numbers in between are much larger than pixels."""
    if not image.mode.startswith("I"):
        return image
    values = np.array(image, np.int32)
    values += 128  # Or halves would be cut off.
    values //= 257
    return Image.fromarray(values.clip(0, 255, out=values).astype(np.uint8))


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def _in_srgb(image: Image.Image) -> Image.Image:
    """By the profile that it has, where that can be read; the channels of others are taken as they are."""
    profile = image.info.get("icc_profile")
    image = _levels(image)
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return _converted(image, own)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def _converted(image: Image.Image, profile: Any) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    if image.mode != "RGBA":
        return ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB") or image
    alpha = image.getchannel("A")
    colours = ImageCms.profileToProfile(image.convert("RGB"), profile, srgb, outputMode="RGB")
    if colours is None:
        return image
    colours.putalpha(alpha)
    return colours


def _flattened(image: Image.Image) -> Image.Image:
    if not _has_alpha(image):
        return image.convert("RGB")
    shown = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", shown.size, (*_BACKGROUND, 255)), shown).convert("RGB")
