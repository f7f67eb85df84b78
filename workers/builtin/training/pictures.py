"""Pictures as tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image


def to_pixels(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """Returns float32 (N, 3, H, W), values -1 to 1, of N RGB pictures of one size."""
    pixels = np.stack([np.asarray(picture) for picture in pictures])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
