"""The built-in models, and what they were trained to draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Size = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """
    A built-in model.

    Attributes:
        model: Its name in the catalogue.
        sizes: Width and height of the pictures that it is asked for.
        grid_px: On which figures of its training stand.
        unguided: The `guidance_scale` with which the prompt alone counts.
    """

    model: str
    sizes: tuple[Size, ...]
    grid_px: int
    unguided: float


SUBJECTS: Mapping[str, Subject] = {
    each.model: each
    for each in (
        Subject(model="shapes", sizes=((128, 128),), grid_px=8, unguided=1.0),
        Subject(model="shapes-flow", sizes=((128, 128), (192, 128), (128, 192)), grid_px=16, unguided=0.0),
    )
}
