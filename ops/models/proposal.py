"""The entry of `models.toml` that suits a model, from what its files say and what published models like it have."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from jobs.catalogue.entry import Limits
from jobs.catalogue.families import FAMILIES, UNKNOWN
from jobs.errors import InvalidRequest
from ops.models.components import Pipeline
from ops.models.published import Published, most_like
from ops.models.sizes import Sizes, sizes_like, sizes_of_own
from workers.families.registry import family_of_pipeline
from workers.loading.checks.calls import OwnCall, own_call

OTHER = "diffusers"  # The family of all pipelines that have none of their own.

_DTYPES = {"F32": "float32", "F64": "float32", "F16": "float16", "BF16": "bfloat16"}
_LARGE = re.compile(r"text_encoder|transformer|unet|prior|vae")
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_FROM_PUBLISHED = ("guidance", "negative_prompt", "max_sequence_length", "schedulers")
# Of a pipeline that says nothing of them.
_STEPS, _GUIDANCE, _MAX_STEPS, _MAX_N = 30, 4.0, 100, 4
_GUIDANCE_NAMES = ("guidance_scale", "true_cfg_scale", "distilled_guidance_scale")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """
    An entry.

    Attributes:
        entry: Its lines, in their order.
        about: What the model is, and where the lines come from: a comment before them.
        notes: Comments of single lines.
    """

    entry: dict[str, Any]
    about: tuple[str, ...]
    notes: dict[str, str]


def propose(pipeline: Pipeline, source: str) -> Proposal:
    """
    An entry without `source` and `revision`.

    Args:
        source: A hub's id, or the name of a folder or file: what it is called says what it was made for.

    Raises:
        InvalidRequest: It is no model that makes pictures of texts, or nobody here knows its pipeline.
    """
    family = family_of_pipeline(pipeline.class_name) or OTHER
    like = most_like(pipeline, family, source)
    dtype = _DTYPES.get((pipeline.denoiser.dtype if pipeline.denoiser else None) or "", "bfloat16")
    entry: dict[str, Any] = {"dtype": dtype}
    if pipeline.variant:
        entry["variant"] = pipeline.variant
    entry["family"] = family
    notes: dict[str, str] = {}
    if (weights_gb := _weights_gb(pipeline, dtype)) is not None:
        entry["memory_gb"] = weights_gb
        notes["memory_gb"] = "its weights; a worker that cannot hold all of its models reckons with it"
    entry |= _own(pipeline, family) if like is None else _as(pipeline, family, like)
    if family != OTHER:
        entry = {name: value for name, value in entry.items() if name != "max_sequence_length" or _is_cut(family)}
    size = (
        f"{pipeline.parameters:,} parameters, {pipeline.parameters * _BYTES[dtype] / 1e9:.3g} GB of weights as {dtype}"
    )
    origin = "its class in diffusers" if like is None else f"{like.title}, which it is most like"
    if dtype == "float32":
        notes["dtype"] = 'as its files have it; "float16" or "bfloat16" takes half the memory'
    return Proposal(
        entry=entry,
        about=(f"{pipeline.class_name}: {size}.", f"Steps, guidance, schedulers and limits are those of {origin}."),
        notes=notes,
    )


def _weights_gb(pipeline: Pipeline, dtype: str) -> float | None:
    """Of all weights, in GB to the next tenth; None where those of a large component are not in what was read."""
    large = [each for name, each in pipeline.components.items() if _LARGE.match(name)]
    if not large or not all(each.parameters for each in large):
        return None
    return math.ceil(pipeline.parameters * _BYTES[dtype] / 1e8) / 10


def _is_cut(family: str) -> bool:
    return FAMILIES.get(family, UNKNOWN).max_sequence_length


def _as(pipeline: Pipeline, family: str, like: Published) -> dict[str, Any]:
    sizes = sizes_like(pipeline, family, like.entry, FAMILIES.get(family, UNKNOWN).side_multiple)
    defaults, limits = like.entry["defaults"], like.entry["limits"]
    lines = {name: like.entry[name] for name in _FROM_PUBLISHED if name in like.entry}
    return lines | _tables(sizes, dict(defaults), limits["max_steps"], limits["max_n"])


def _own(pipeline: Pipeline, family: str) -> dict[str, Any]:
    call = _call_of(pipeline.class_name)
    said = call.defaults
    pixels = next((said[name] for name in ("height", "width") if isinstance(said.get(name), int)), None)
    sizes = sizes_of_own(pipeline, family, call.latent_side, pixels)
    steps = said.get("num_inference_steps", _STEPS)
    guidance = next((float(said[name]) for name in _GUIDANCE_NAMES if name in said), _GUIDANCE)
    defaults = {"num_inference_steps": steps, "guidance_scale": guidance, "scheduler": "default"}
    return {"schedulers": ["default"], **_tables(sizes, defaults, max(_MAX_STEPS, steps), _MAX_N)}


def _call_of(class_name: str) -> OwnCall:
    call = own_call(class_name)
    if call is None:
        known = "no family here is of this pipeline, and no diffusers that is installed here has it"
        raise InvalidRequest("source", f"model_index.json names {class_name or 'no class'}: {known}")
    if "prompt" not in call.takes:
        raise InvalidRequest("source", f"{class_name} takes no prompt")
    if call.makes is not None:
        raise InvalidRequest("source", call.makes)
    return call


def _tables(sizes: Sizes, defaults: dict[str, Any], max_steps: int, max_n: int) -> dict[str, Any]:
    limits: dict[str, Any] = {"min_side": sizes.min_side, "max_side": sizes.max_side}
    if sizes.multiple != Limits.model_fields["side_multiple"].default:
        limits["side_multiple"] = sizes.multiple
    sides = {"width": sizes.side, "height": sizes.side}
    return {
        "defaults": {**sides, **defaults, **sides},
        "limits": limits | {"max_steps": max_steps, "max_n": max_n},
    }
