"""Sizes of pictures by what they cost."""

from __future__ import annotations

import math


def size_class(width: int, height: int) -> int:
    """
    Half octaves of the area, rounded: sizes of one class differ by at most 41 % in their pixels.

    A pass of any of them takes about as long, so one is measured for all; whatever sizes users think of, there are
    only so many classes.
    """
    return round(2 * math.log2(width * height))
