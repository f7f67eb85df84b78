"""Pictures that a transformer looks at while it makes another: their latents are more tokens of the row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from jobs.catalogue.entry import Model
from jobs.errors import ErrorCode
from jobs.kinds.edit import unseen
from workers.engine.errors import GenerationFailed
from workers.families.parts.autoencoder import from_pixels
from workers.runners.edit_work import Edit
from workers.runners.postprocess import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """
    What one job looks at, in order; the same for each of its images.

    Attributes:
        tokens: (T, D), of all pictures one after another.
        sizes: (h, w) of each in tokens.
    """

    tokens: torch.Tensor
    sizes: tuple[tuple[int, int], ...]


def seen_by_field(edit: Edit, entry: Model) -> dict[str, Pixels]:
    """
    The pictures that an edit by instruction looks at, by their fields and in order: first the one that is edited.

    Raises:
        GenerationFailed: `invalid_input`, where the model takes none of such a size.
    """
    pictures = {"image": edit.image} | {f"references.{place}": each for place, each in enumerate(edit.references)}
    for field, pixels in pictures.items():
        if reason := unseen((pixels.shape[1], pixels.shape[0]), entry):
            raise GenerationFailed(ErrorCode.INVALID_INPUT, f"{field}: {reason}")
    return pictures


def look_at(
    images: Sequence[torch.Tensor],
    encode: Callable[[torch.Tensor], torch.Tensor],
    pack: Callable[[torch.Tensor], torch.Tensor],
    *,
    token_side: int,
) -> References:
    """
    Pictures as tokens, each encoded in a forward of its own: the same in any company.

    Args:
        images: Each (1, 3, height, width), -1 to 1.
        encode: To latents, (1, C, h, w).
        pack: From latents to tokens, (1, T, D).
        token_side: Of the pixels that are one token.
    """
    tokens = torch.cat([pack(encode(image))[0] for image in images])
    sizes = tuple((each.shape[-2] // token_side, each.shape[-1] // token_side) for each in images)
    return References(tokens=tokens, sizes=sizes)


def with_references(samples: torch.Tensor, rows_references: Sequence[References | None]) -> torch.Tensor:
    """Samples of rows, (R, T, D), each with the tokens of what it looks at behind it: all look at as many, or none."""
    seen = [each.tokens.to(samples) for each in rows_references if each is not None]
    return torch.cat([samples, torch.stack(seen)], dim=1) if seen else samples


def cropped(image: Image.Image, multiple: int) -> torch.Tensor:
    """The middle of a picture whose sides are multiples, (1, 3, height, width), -1 to 1."""
    width, height = (side // multiple * multiple for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return from_pixels(np.asarray(image.crop((left, top, left + width, top + height))))
