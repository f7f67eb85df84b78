"""The published models that are measured on a device, the smallest first."""

from __future__ import annotations

from workers.bench.published.flow import FLUX1_DEV, FLUX2_KLEIN_4B, QWEN_IMAGE, Z_IMAGE_TURBO
from workers.bench.published.stable_diffusion import STABLE_DIFFUSION_15, STABLE_DIFFUSION_XL

PUBLISHED = (STABLE_DIFFUSION_15, STABLE_DIFFUSION_XL, FLUX2_KLEIN_4B, Z_IMAGE_TURBO, FLUX1_DEV, QWEN_IMAGE)
