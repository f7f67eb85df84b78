"""The sizes of pictures that a model was made for, in pixels, from how large its latents are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.models.components import Pipeline

# Pixels of a latent along a side, of the families whose autoencoders shrink pictures by another factor than 8.
_PUBLISHED_FACTOR = {"sana": 32, "sana-sprint": 32, "hunyuan-image": 32}
_FACTOR = 8
_AUTOENCODERS = ("vae", "movq", "vqvae")
# Their `sample_size` is no size that they were trained for: AuraFlow's pipeline makes twice as much.
_OTHER_SAMPLE_SIZE = ("aura-flow",)
_LEAST_SIDE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sides in pixels: of a request that says none, the limits, and of what all are multiples."""

    side: int
    min_side: int
    max_side: int
    multiple: int


def sizes_like(pipeline: Pipeline, family: str, published: Mapping[str, Any], least_multiple: int) -> Sizes:
    """
    As a published model of its family has them, in latents.

    Args:
        published: Its entry of `models.toml`.
        least_multiple: Of the family.
    """
    limits, side = published["limits"], published["defaults"]["width"]
    published_factor = _PUBLISHED_FACTOR.get(family, _FACTOR)
    factor = pixels_of_latent(pipeline) or published_factor
    latents = limits.get("side_multiple", _FACTOR) // published_factor
    # Of some pipelines 16 is in their code, however large a latent is.
    least = math.lcm(least_multiple, math.gcd(limits.get("side_multiple", _LEAST_SIDE), 16))
    own = trained_side(pipeline, family) or side * factor // published_factor
    return _sizes(
        own,
        share=(limits["min_side"] / side, limits["max_side"] / side),
        multiple=math.lcm(least, factor * max(1, latents)),
        most=_most(pipeline, family, factor),
    )


def sizes_of_own(pipeline: Pipeline, family: str, latent_side: int | None, pixels: int | None) -> Sizes:
    """
    As a pipeline makes them by itself.

    Args:
        latent_side: What its class makes by itself, in latents, and in `pixels`; None where it does not say.
    """
    factor = pixels_of_latent(pipeline) or (1 if pipeline.denoiser else _FACTOR)
    of_class = latent_side * factor if latent_side else pixels
    own = trained_side(pipeline, family) or of_class or 1024
    is_transformer = pipeline.denoiser is not None and pipeline.denoiser.name.startswith("transformer")
    multiple = math.lcm(16, 2 * factor) if is_transformer else math.lcm(8, factor)
    return _sizes(own, share=(0.5, 1.5), multiple=multiple, most=_most(pipeline, family, factor))


def pixels_of_latent(pipeline: Pipeline) -> int | None:
    """How much of a picture's side a latent is, as its autoencoder is configured; None where that is not said."""
    config = next((pipeline.components[name].config for name in _AUTOENCODERS if name in pipeline.components), {})
    if isinstance(ratio := config.get("spatial_compression_ratio"), int):
        return ratio
    for key, levels in (("temperal_downsample", 0), ("encoder_block_out_channels", -1), ("block_out_channels", -1)):
        if isinstance(blocks := config.get(key), list):
            return 1 << max(0, len(blocks) + levels)
    return None


def trained_side(pipeline: Pipeline, family: str) -> int | None:
    """Of what the denoiser was trained on, by its `sample_size`; None where it has none."""
    denoiser = pipeline.denoiser
    sample = denoiser.config.get("sample_size") if denoiser else None
    if not isinstance(sample, int) or family in _OTHER_SAMPLE_SIZE:
        return None
    return sample * (pixels_of_latent(pipeline) or 1)


def _most(pipeline: Pipeline, family: str, factor: int) -> int | None:
    """The longest side that a denoiser has positions for; None where any."""
    config = pipeline.denoiser.config if pipeline.denoiser else {}
    positions, patch = config.get("pos_embed_max_size"), config.get("patch_size")
    if not isinstance(positions, int) or not isinstance(patch, int):
        return None
    along = math.isqrt(positions) if family == "aura-flow" else positions
    return along * patch * factor


def _sizes(side: int, *, share: tuple[float, float], multiple: int, most: int | None) -> Sizes:
    """Rounded to multiples; `share`: the limits over the side."""
    highest = multiple * max(1, int(min(share[1] * side, most or math.inf) // multiple))
    own = min(multiple * math.ceil(side / multiple), highest)
    lowest = max(multiple * math.ceil(share[0] * side / multiple), _LEAST_SIDE)
    return Sizes(side=own, min_side=min(lowest, own), max_side=highest, multiple=multiple)
