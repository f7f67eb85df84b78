"""Rows of a forward pass: the unit that jobs share a batch in. A job with guidance has two for each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch

from workers.families.parts.compiled import CompiledRows


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """
    The input of one forward for R rows.

    Attributes:
        sample: Scaled latents, (R, C, h, w).
        timesteps: (R,), float32; each row has its own.
        text: (R, T, D).
        extra: What else the model is conditioned on, each (R, …): of SDXL `text_embeds` and `time_ids`; of models
            distilled with guidance `timestep_cond`; of PixArt `mask`, where there is text, and of the first one
            `resolution` and `aspect_ratio`.
    """

    sample: torch.Tensor
    timesteps: torch.Tensor
    text: torch.Tensor
    extra: dict[str, torch.Tensor]

    def __len__(self) -> int:
        return len(self.sample)

    def part(self, start: int, stop: int) -> Rows:
        return self._each(lambda tensor: tensor[start:stop])

    def with_sample(self, sample: torch.Tensor) -> Rows:
        """With another sample of as many rows."""
        return replace(self, sample=sample)

    def padded_to(self, count: int) -> Rows:
        """Filled up to `count` rows with copies of the first, whose predictions nobody reads."""
        missing = count - len(self)
        if missing <= 0:
            return self
        return self._each(lambda tensor: torch.cat([tensor, tensor[:1].expand(missing, *tensor.shape[1:])]))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Rows:
        return Rows(
            sample=change(self.sample),
            timesteps=change(self.timesteps),
            text=change(self.text),
            extra={name: change(tensor) for name, tensor in self.extra.items()},
        )


def pack(parts: Sequence[Rows]) -> Rows:
    """The rows of several jobs behind each other."""
    if len(parts) == 1:
        return parts[0]
    return Rows(
        sample=torch.cat([part.sample for part in parts]),
        timesteps=torch.cat([part.timesteps for part in parts]),
        text=torch.cat([part.text for part in parts]),
        extra={name: torch.cat([part.extra[name] for part in parts]) for name in parts[0].extra},
    )


def forward_in_parts(
    rows: Rows,
    forward: Callable[[Rows], torch.Tensor],
    *,
    max_rows: int,
    exactly: int | None = None,
    compiled: CompiledRows | None = None,
) -> torch.Tensor:
    """
    Run a forward over rows of any number.

    Args:
        max_rows: Of one forward; more rows take several, of about equal size.
        exactly: Give each forward just as many rows, padded where there are fewer. A library may sum in another order
            for another batch size; with a fixed one, a row's result depends on nothing beside it.
        compiled: What forwards are compiled for, and so filled up to.

    Returns:
        Predictions, (R, C, h, w).
    """
    count = len(rows)
    if compiled and exactly is None and (parts := compiled.parts(count, max_rows, rows.sample.shape[1:])):
        ends = [*accumulate(taken for taken, _ in parts)]
        with compiled.running():
            made = [
                forward(rows.part(end - taken, end).padded_to(filled))[:taken]
                for end, (taken, filled) in zip(ends, parts, strict=True)
            ]
        return torch.cat(made)
    if exactly is None:
        size = -(-count // -(-count // max_rows))
        if size >= count:
            return forward(rows)
        return torch.cat([forward(rows.part(at, at + size)) for at in range(0, count, size)])
    alike = [rows.part(at, at + exactly).padded_to(exactly) for at in range(0, count, exactly)]
    return torch.cat([forward(part) for part in alike])[:count]
