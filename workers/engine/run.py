"""What the engine knows of a job that it runs, whatever the job makes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol


class Run(Protocol):
    """
    One job on its way from its first step to its last. Only the engine's denoiser thread touches it, until it is done.

    Attributes:
        rows: How many rows of a forward pass it takes: one for each image, two with guidance.
        share_key: Runs with equal keys can share a pass: model, latent shape, text length.
        cost_key: Passes of runs with equal keys take about as long, row for row, so one is measured for all. There
            are few of them, whatever is asked for. Measurements are kept under its text.
        step: How many of its `steps` are done.
        steps: In all.
        passes_left: Forward passes until it is done.
        outputs: How many things it makes: images.
        warnings: What its submitter should know though it goes well, a sentence each.
    """

    @property
    def rows(self) -> int: ...
    @property
    def share_key(self) -> Hashable: ...
    @property
    def cost_key(self) -> Hashable: ...
    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def passes_left(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...

    def advance(self, prediction: Any) -> None:
        """Take in what a pass predicted for it, which is when noise is drawn and its scheduler moves on."""

    def note_shortage(self) -> None:
        """A pass of it had fewer rows than its adapter's `fixed_rows`, for memory was short."""
