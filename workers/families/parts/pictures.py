"""
Pictures are held against the job that asked for them, whatever model made them.

Pipelines round a size that they cannot make to one that they can, with a warning at most. What a job's record and its
files say about a picture has to be so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jobs.catalogue.entry import Model
from jobs.kinds.generate import GenerateSpec
from workers.engine.errors import WrongPictures
from workers.runners.postprocess import Pixels

_CHANNELS = 3


def check_pictures(pixels: Sequence[Pixels], spec: GenerateSpec, entry: Model) -> None:
    """
    Raise `WrongPictures` unless there are `n` of the job's size.

    Args:
        pixels: What a model made of the job.
    """
    check_number(len(pixels), spec.n, entry)
    for each in pixels:
        if each.ndim != len(("height", "width", "channel")) or each.shape[-1] != _CHANNELS or each.dtype != np.uint8:
            shape = "×".join(map(str, each.shape))
            advice = f"[models.{entry.name}] of models.toml must name a model that makes colour pictures."
            raise WrongPictures(f"the model made {shape} values of {each.dtype}, which is not an image", advice)
        _check_size(each.shape[1], each.shape[0], spec, entry)


def check_number(made: int, requested: int, entry: Model) -> None:
    """Raise `WrongPictures` unless a model made as many pictures as it was asked for."""
    if made != requested:
        advice = f"The operator can set limits.max_n of [models.{entry.name}] in models.toml to what the model makes."
        raise WrongPictures(f"n: {requested} {_pictures(requested)} requested, but the model made {made}", advice)


def _pictures(count: int) -> str:
    return "picture was" if count == 1 else "pictures were"


def _check_size(width: int, height: int, spec: GenerateSpec, entry: Model) -> None:
    wrong = {"width": width != spec.width, "height": height != spec.height}
    if any(wrong.values()):
        fields = " and ".join(name for name, is_wrong in wrong.items() if is_wrong)
        sizes = f"{spec.width}×{spec.height} pixels were requested, but the model made {width}×{height}"
        advice = (
            "Nothing was stored: request a size that the model can make. The operator can set limits.side_multiple "
            f"of [models.{entry.name}] in models.toml, so that other sizes are refused at once."
        )
        raise WrongPictures(f"{fields}: {sizes}", advice)
