"""The safety checker that a pipeline of Stable Diffusion comes with: its pictures are withheld, not blacked out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from jobs.errors import ErrorCode
from workers.engine.errors import GenerationFailed
from workers.runners.postprocess import Pixels

WITHHELD = "the model's own safety checker withheld a picture"


def check_safety(pictures: Sequence[Pixels], pipeline: Any, device: torch.device) -> None:
    """
    Have the safety checker of a pipeline look at pictures, one by one: what it says of one is the same in any company.

    Raises:
        GenerationFailed: `invalid_output`, where it withholds one.
    """
    checker = pipeline.safety_checker
    for picture in pictures:
        seen = pipeline.feature_extractor(Image.fromarray(picture), return_tensors="pt").pixel_values
        _, (is_withheld,) = checker(images=[picture], clip_input=seen.to(device, checker.dtype))
        if is_withheld:
            raise GenerationFailed(ErrorCode.INVALID_OUTPUT, WITHHELD)
