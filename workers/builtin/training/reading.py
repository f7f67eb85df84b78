"""
What a caption says, as a task of its own: a probe with one layer of cross-attention has to find it in what an encoder
makes of the caption.

A denoiser that learns from an untrained text encoder spends most of its steps on telling captions apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy

from workers.builtin.scenes import COLOURS, POSITIONS, RELATIONS, SHAPES, SIZES, Scene

_UNSTATED = -100  # cross_entropy's default for a target that does not count

# Which place each of two figures takes: the first one's by the relation, the other one's opposite.
_SIDES = {
    "left of": ("left", "right"),
    "right of": ("right", "left"),
    "above": ("top", "bottom"),
    "below": ("bottom", "top"),
}
_FIGURE_VALUES = (len(COLOURS) + 1, len(SHAPES) + 1)  # and none
_CLASSES = (
    len(COLOURS),
    *_FIGURE_VALUES * 2,
    len(SIZES) + 1,
    len(POSITIONS) + 1,
    len(RELATIONS) + 1,
    *_FIGURE_VALUES * len(POSITIONS),
)


class Probe(torch.nn.Module):
    """
    One learned query and one classifier for each attribute, and for what stands at each place.

    Args:
        width: Of the encoder's output.
        normed: Whether what comes in has to be normed first: the output of a layer that is not the last.
    """

    def __init__(self, width: int, *, normed: bool = False) -> None:
        super().__init__()
        self.norm = torch.nn.RMSNorm(width) if normed else torch.nn.Identity()
        self.queries = torch.nn.Parameter(torch.randn(len(_CLASSES), width))
        self.attention = torch.nn.MultiheadAttention(width, 4, batch_first=True)
        self.heads = torch.nn.ModuleList(torch.nn.Linear(width, count) for count in _CLASSES)

    def forward(self, text: torch.Tensor, padding: torch.Tensor | None = None) -> list[torch.Tensor]:
        """
        The classes' logits, float32 (N, classes), one for each query.

        Args:
            text: The encoder's output, float32 (N, L, width).
            padding: Where there is none, bool (N, L).
        """
        text = self.norm(text)
        queries = self.queries.expand(len(text), -1, -1)
        found = self.attention(queries, text, text, key_padding_mask=padding, need_weights=False)[0]
        return [head(found[:, index]) for index, head in enumerate(self.heads)]


def reading_loss(answers: Sequence[torch.Tensor], scenes: Sequence[Scene]) -> tuple[torch.Tensor, float]:
    """The mean cross entropy of a probe's answers, and which share of what the scenes state they have right."""
    targets = torch.tensor([_target(scene) for scene in scenes])
    losses = [cross_entropy(answer.float(), target) for answer, target in zip(answers, targets.T, strict=True)]
    right = (torch.stack([answer.argmax(1) for answer in answers], 1) == targets).sum() / (targets >= 0).sum()
    return torch.stack(losses).nanmean(), right.item()  # A target that no caption of the batch states gives no number.


def _target(scene: Scene) -> list[int]:
    first = scene.figures[0]
    figures = [(COLOURS.index(each.colour), SHAPES.index(each.shape)) for each in scene.figures]
    nothing = (len(COLOURS), len(SHAPES))
    pair = [*figures, nothing][:2]
    stated = [
        SIZES.index(first.size) if first.size else len(SIZES),
        POSITIONS.index(first.position) if first.position else len(POSITIONS),
        RELATIONS.index(scene.relation) if scene.relation else len(RELATIONS),
    ]
    if scene.relation:
        at = dict(zip(_SIDES[scene.relation], figures, strict=True))
    else:
        at = {first.position: figures[0]} if first.position else {}
    open_place = nothing if at else (_UNSTATED, _UNSTATED)
    places = [at.get(position, open_place) for position in POSITIONS]
    return [COLOURS.index(scene.background), *_flat(pair), *stated, *_flat(places)]


def _flat(pairs: Sequence[tuple[int, int]]) -> list[int]:
    return [value for pair in pairs for value in pair]
