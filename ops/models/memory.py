"""
What a model's weights take of a device, and whether the devices of this machine have as much.

In GB (10⁹ bytes), as cards are named, and `min_vram_gb` of an entry is.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobs.catalogue.entry import Model
from ops.models.components import Pipeline

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_SHOWN = 3  # components, the largest


def weights_bytes(pipeline: Pipeline, dtype: str) -> dict[str, int]:
    """Of each component that has weights, loaded as a dtype; the largest first."""
    sizes = {name: each.parameters * _BYTES[dtype] for name, each in pipeline.components.items() if each.parameters}
    return dict(sorted(sizes.items(), key=lambda each: -each[1]))


def describe_weights(pipeline: Pipeline, model: Model) -> str:
    """For a person: how many bytes as its entry loads it, and which components have most of them."""
    sizes = weights_bytes(pipeline, model.dtype)
    largest = ", ".join(f"{name} {_gb(size)}" for name, size in [*sizes.items()][:_SHOWN])
    return f"weights take {_gb(sum(sizes.values()))} GB as {model.dtype} ({largest})"


def shortage(pipeline: Pipeline, model: Model, cards_mib: Sequence[int]) -> str | None:
    """
    Why a model does not fit into any GPU of this machine; None where it does, or there is none.

    Its weights alone are compared: what is computed with them comes on top.
    """
    sizes = weights_bytes(pipeline, model.dtype)
    if model.text_device == "cpu":
        sizes = {name: size for name, size in sizes.items() if not name.startswith("text_encoder")}
    needed, most = sum(sizes.values()), max(cards_mib, default=0) << 20
    if not cards_mib or needed < most:
        return None
    return f"its weights take {_gb(needed)} GB of a device, and the largest GPU here has {_gb(most)} GB"


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2g}" if size_bytes < 1e9 else f"{size_bytes / 1e9:.1f}"
