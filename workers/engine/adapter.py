"""What the engine needs of a model family. It knows nothing else about one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from workers.engine.run import Run

OnStep = Callable[[int], None]  # called with the number of a run's steps that are done

W_contra = TypeVar("W_contra", contravariant=True)  # what is handed in
U = TypeVar("U", bound=Run)  # a run of it
R_co = TypeVar("R_co", covariant=True)  # what comes out


class Adapter(Protocol[W_contra, U, R_co]):
    """
    A loaded model, seen as the three things that a device does.

    What a method raises fails the jobs that it was called with; the engine finds out which of several was to blame.
    """

    @property
    def name(self) -> str:
        """Of the model, for logs."""

    def encode(self, works: Sequence[W_contra]) -> list[Any]:
        """What each job is conditioned on, for `begin`."""

    def begin(self, work: W_contra, conditioning: Any) -> U:
        """A job at its first step."""

    def fixed_rows(self, run: U) -> int | None:
        """
        Rows of a forward of this run that are the same whatever shares its pass: of a reproducible job. None where a
        forward has as many as there are.

        `predict` is given no smaller `max_rows` with such a run but where memory is short.
        """

    def predict(self, batch: Sequence[U], max_rows: int, on_step: OnStep) -> list[Any]:
        """
        One pass for each of a batch with one `share_key`. Changes none of them, so it can be tried again.

        Args:
            max_rows: Rows of one forward at most, padding too; a batch with more takes several.
            on_step: For families whose one pass is a whole run of several steps: called after each.

        Returns:
            For each of the batch, what its `advance` takes.
        """

    def finish(self, run: U, max_outputs: int) -> R_co:
        """
        What a run that is done has made. Changes nothing, so it can be tried again.

        Args:
            max_outputs: That are made together at most; fewer where memory is short.

        Raises:
            GenerationFailed: It is not what the job asks, or no number.
        """

    def trial(self, run: U) -> U:
        """A run whose pass takes as long as that of `run`, or a fixed part of it, to measure with."""


AnyAdapter = Adapter[Any, Any, Any]
