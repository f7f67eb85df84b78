"""
Large pictures between Pillow and numpy, a band at a time.

Pillow hands a picture over in pieces of 64 KiB, all of them and then their whole: three times its bytes, and a thread's
heap that has held so many small pieces does not become smaller again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]  # (height, width, 3)

_BAND_PIXELS = 1 << 20


def bands(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Of all its width, from the top to the bottom: which rows, and what is there. A small picture is one."""
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def as_array(image: Image.Image) -> Pixels:
    """Pixels of a picture in RGB, uint8 (height, width, 3)."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for rows, band in bands(image):
        pixels[rows] = np.asarray(band)
    return pixels
