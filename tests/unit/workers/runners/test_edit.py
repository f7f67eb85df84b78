"""What the runner of edits opens, and what memory it says that takes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from jobs.errors import ErrorCode
from jobs.kinds.edit import EditSpec
from jobs.kinds.inputs import Input
from tests.input_pictures import saved
from tests.unit.workers import tiny
from workers.engine.errors import GenerationFailed
from workers.runners.edit import EditRunner
from workers.runners.input_pictures import memory_bytes

SIZES = {"image": (40, 30), "references.0": (50, 20), "references.1": (10, 60)}


def named(size: tuple[int, int]) -> Input:
    return Input(file="file-" + "a" * 24, bytes=9, width=size[0], height=size[1])


def spec(*references: Input) -> EditSpec:
    size = {"width": 40, "height": 30}
    fields = tiny.spec(tiny.model("diffusers"), **size).model_dump()
    own = {"image": named(SIZES["image"]), "references": list(references) or None, "strength": 1.0}
    return EditSpec.model_validate({**fields, **own})


def test_each_picture_is_opened_as_the_one_that_its_place_names() -> None:
    runner, asked = EditRunner(), spec(named(SIZES["references.0"]), named(SIZES["references.1"]))
    for field, size in SIZES.items():
        opened = runner.open(field, saved(Image.new("RGB", size, "red")), asked)
        assert (opened.shape, opened.dtype) == ((size[1], size[0], 3), np.uint8)
    other = saved(Image.new("RGB", SIZES["references.0"]))
    with pytest.raises(GenerationFailed, match="it is another picture than when the job was submitted") as raised:
        runner.open("references.1", other, asked)
    assert raised.value.code == ErrorCode.INVALID_INPUT


def test_memory_of_further_pictures_counts_until_the_end() -> None:
    """Each has its pixels, and those that the pipeline gets of them."""
    runner, size = EditRunner(), (1_000, 500)
    alone, beside = spec(), spec(named(size), named(size))
    pixels = size[0] * size[1]
    assert runner.begun_bytes(beside) - runner.begun_bytes(alone) == 2 * pixels * (3 + 4)
    assert runner.input_bytes(beside) >= memory_bytes(size) + 3 * pixels
    assert runner.input_bytes(beside) >= runner.begun_bytes(beside)
