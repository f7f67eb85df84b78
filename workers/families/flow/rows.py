"""Rows of a forward of a transformer: one image each, of any size and with a text of any length."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import islice, repeat

import torch

from workers.families.flow.references import References
from workers.families.parts.compiled import CompiledRows
from workers.families.parts.embeddings import Embedding


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRow:
    """
    What a model is given of one image.

    Attributes:
        sample: Its latents, as the model takes them, without a batch.
        timestep: Of the schedule, up to 1000.
        next_timestep: Where this step leads to; 0 at the last.
        text: What its text was encoded to, each tensor without a batch.
        guidance_scale: For models that take it as an input.
        size: (height, width) of the picture.
        references: Pictures that are looked at beside it.
    """

    sample: torch.Tensor
    timestep: float
    next_timestep: float
    text: Embedding
    guidance_scale: float
    size: tuple[int, int]
    references: References | None = None


Forward = Callable[[Sequence[FlowRow]], Sequence[torch.Tensor]]  # a prediction for each row, of its sample's shape


def forward_rows(
    rows: Sequence[FlowRow], forward: Forward, max_rows: int, compiled: CompiledRows | None = None
) -> list[torch.Tensor]:
    """
    Run a forward over rows of any number: more than `max_rows` take several, of about equal size.

    Args:
        compiled: What forwards are compiled for, and so filled up to, with copies of a row.
    """
    count = len(rows)
    if compiled and (parts := compiled.parts(count, max_rows, _shape(rows[0]))):
        made: list[torch.Tensor] = []
        begun = iter(rows)
        with compiled.running():
            for taken, filled in parts:
                own = [*islice(begun, taken)]
                made += forward([*own, *repeat(own[0], filled - taken)])[:taken]
        return made
    size = even_rows(count, max_rows)
    return [made for at in range(0, count, size) for made in forward(rows[at : at + size])]


def _shape(row: FlowRow) -> Hashable:
    """What the rows of a pass have in common that decides the shapes in a forward."""
    return (row.size, () if row.references is None else row.references.sizes)


def even_rows(count: int, max_rows: int) -> int:
    """Rows of the largest of the forwards that so many rows take."""
    return -(-count // -(-count // max_rows))


def stack(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Those of all rows, with a batch; they are of one shape."""
    return torch.stack(list(tensors))


def timesteps(rows: Sequence[FlowRow]) -> torch.Tensor:
    """(R,), float32, beside the samples."""
    return torch.tensor([row.timestep for row in rows], dtype=torch.float32).to(rows[0].sample.device)


def guidance_scales(rows: Sequence[FlowRow]) -> torch.Tensor:
    """(R,), float32, beside the samples."""
    return torch.tensor([row.guidance_scale for row in rows], dtype=torch.float32).to(rows[0].sample.device)


def texts_padded(rows: Sequence[FlowRow], of: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The texts of all rows at the length of the longest.

    Args:
        of: Which tensor of a text.

    Returns:
        (R, T, …), zeros behind a text's end; and (R, T), bool, where there is text.
    """
    texts = [row.text[of] for row in rows]
    lengths = torch.tensor([len(text) for text in texts], device=texts[0].device)
    padded = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
    return padded, torch.arange(padded.shape[1], device=padded.device)[None] < lengths[:, None]
