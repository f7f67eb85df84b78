"""Which shapes of forwards are compiled, so that one which serves never is: rows are filled up to a few counts."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

# What is compiled is used, and what would have to be compiled runs as it is.
SERVING = "eager_on_recompile"


class CompiledRows:
    """
    Of one model, whose blocks are compiled when they are called.

    While it is open, forwards have powers of two as rows, and each that has another shape is compiled. Once closed,
    forwards of these shapes are filled up to the next of these counts, and others run as they are. For one thread.

    Attributes:
        counts: Rows that forwards were compiled for, by what else they have: sizes of pictures and texts.
    """

    def __init__(self) -> None:
        self.counts: dict[Hashable, set[int]] = {}
        self._is_open = True

    def close(self) -> None:
        """Compile nothing further."""
        self._is_open = False

    def parts(self, count: int, max_rows: int, shape: Hashable) -> list[tuple[int, int]]:
        """
        The forwards that so many rows take.

        Args:
            max_rows: Of one forward.
            shape: What the rows have beside their number.

        Returns:
            Of each, its rows, and how many it is filled up to; none where this shape is not compiled.
        """
        known = _powers(max_rows) if self._is_open else self.counts.get(shape, ())
        fitting = sorted(each for each in known if each <= max_rows)
        parts = []
        while fitting and count:
            rows = min(count, fitting[-1])
            parts.append((rows, next(each for each in fitting if each >= rows)))
            count -= rows
        if self._is_open:
            self.counts.setdefault(shape, set()).update(filled for _, filled in parts)
        return parts

    def running(self) -> AbstractContextManager[Any]:
        """While forwards run: compiles what they need as long as it is open."""
        if not self._is_open:
            return nullcontext()
        compiling: AbstractContextManager[Any] = torch.compiler.set_stance("default")  # From now on.
        return compiling


def _powers(most: int) -> Iterator[int]:
    rows = 1
    while rows <= most:
        yield rows
        rows *= 2
