"""Texts that are encoded together: those of about one length, so that little of a forward is filling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

_STEP = 32  # tokens: texts of one group fill up to the same multiple
_LONG = 256  # above it, groups are of twice as many


def by_length(texts: Sequence[T], length: Callable[[T], int]) -> dict[int, list[T]]:
    """
    Texts in groups, by the length that each of a group is filled up to.

    Args:
        length: Of a text, in tokens.
    """
    groups: dict[int, list[T]] = {}
    for text in texts:
        step = _STEP if length(text) <= _LONG else 4 * _STEP
        groups.setdefault(-(-max(length(text), 1) // step) * step, []).append(text)
    return groups
