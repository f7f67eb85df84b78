"""PixArt-α (Chen et al. 2023): as PixArt-Σ, with less text."""

from __future__ import annotations

from diffusers import PixArtAlphaPipeline

from workers.families.family import Family
from workers.families.pixart_sigma import PixArtSigma


class PixArtAlpha(PixArtSigma):
    """Adapts a `PixArtAlphaPipeline`."""

    _own_max_tokens = 120


FAMILY = Family(
    pipeline=PixArtAlphaPipeline,
    parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer"),
    adapt=PixArtAlpha,
)
