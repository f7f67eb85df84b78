"""What was right of how many: counts, their intervals, and the sheet of pictures that they were counted on."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image

from workers.builtin.checker import check
from workers.builtin.scenes import Scene, altered, caption, held_out_scene

_SHEET_COLUMNS = 12
_Z = 1.959964  # of the normal distribution, for 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How many of `of` were right."""

    name: str
    right: int
    of: int

    @property
    def share(self) -> float:
        return self.right / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """In which the true share lies, at 95 % (Wilson 1927): with 100 of 100 right it is not surely 1."""
        squared = _Z * _Z / self.of
        middle = self.share + squared / 2
        half = _Z * math.sqrt(self.share * (1 - self.share) / self.of + squared / (4 * self.of))
        return max(0.0, (middle - half) / (1 + squared)), min(1.0, (middle + half) / (1 + squared))

    def to_json(self) -> dict[str, Any]:
        """With what follows from its counts."""
        return {**asdict(self), "share": self.share, "interval": self.interval}


def held_out_scenes(fits: Callable[[Scene], bool], count: int, rng: random.Random) -> list[Scene]:
    """So many distinct scenes that training left out and that fit."""
    scenes: dict[str, Scene] = {}
    while len(scenes) < count:
        scene = held_out_scene(rng)
        if fits(scene):
            scenes[caption(scene)] = scene
    return list(scenes.values())


def altered_refused(right: Iterable[tuple[Scene, Image.Image]], rng: random.Random) -> Measure:
    """The checker checked: of pictures that it finds right, how often it refuses the caption with one thing altered."""
    refused = [not check(altered(scene, rng), image).all for scene, image in right]
    return Measure(name="altered captions refused", right=sum(refused), of=max(len(refused), 1))


def percent(measure: Measure) -> str:
    """Its share and interval, for a table."""
    low, high = measure.interval
    return f"{measure.share:.1%} ({low:.1%} to {high:.1%})"


def to_sheet(images: Sequence[Image.Image]) -> Image.Image:
    """All of them side by side, as a person looks at them."""
    width, height = (max(image.size[axis] for image in images) + 2 for axis in (0, 1))
    rows = -(-len(images) // _SHEET_COLUMNS)
    sheet = Image.new("RGB", (width * _SHEET_COLUMNS, height * rows), "white")
    for index, image in enumerate(images):
        sheet.paste(image, (width * (index % _SHEET_COLUMNS), height * (index // _SHEET_COLUMNS)))
    return sheet
