"""Has the blocks of a denoiser compiled, where the entry of a model asks it (torch.compile, by region)."""

from __future__ import annotations

from typing import Any

import torch

from jobs.catalogue.entry import Model
from workers.families.parts.compiled import SERVING
from workers.loading.errors import NotLoaded

_DENOISERS = ("transformer", "unet")
# Shapes of one block that dynamo keeps: rows × sizes of pictures × levels of a U-Net. Above its own eight, a block runs
# uncompiled from then on.
_MOST_SHAPES = 1024


def compile_blocks(pipeline: Any, entry: Model, backend: str = "inductor") -> None:
    """
    Have the repeated blocks of a pipeline's denoiser compiled as they are first called with a shape.

    Every shape is static: on a CPU, one compilation with free sizes did not end in 700 s. What is called outside of
    `CompiledRows` with a shape that is not known runs as it is, in the whole process.

    Args:
        backend: Of torch.compile.

    Raises:
        NotLoaded: It has none.
    """
    if entry.compile is None:
        return
    denoiser = next((part for name in _DENOISERS if (part := getattr(pipeline, name, None)) is not None), None)
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, _MOST_SHAPES)
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, 8 * _MOST_SHAPES)
    try:
        denoiser.compile_repeated_blocks(dynamic=False, backend=backend)  # type: ignore[union-attr]
    except (AttributeError, ValueError) as exc:
        kind = type(denoiser).__name__
        raise NotLoaded(f"compile: diffusers names no blocks of {kind}; leave it out of [models.{entry.name}]") from exc
    torch.compiler.set_stance(SERVING)
