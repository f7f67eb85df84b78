"""What the engine needs of a model family. It knows nothing else about one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, TypeVar

from jobs.catalogue.models import Model
from jobs.kinds.spec import JobSpec
from workers.runners.postprocess import Pixels

OnStep = Callable[[int], None]  # told how many of a job's steps are done


class Denoising(Protocol):
    """
    The images of one job on their way from noise to latents. Only the engine's denoiser thread touches it.

    Attributes:
        spec: The job.
        rows: How many rows of a forward pass it takes: its images, twice with guidance.
        share_key: Jobs with equal keys can share a pass: model, latent shape, text length.
        cost_key: Passes of jobs with equal keys take about as long, row for row, so one is measured for all. There
            are few of them, whatever is asked for.
        step: How many of `spec.num_inference_steps` are done.
        passes_left: Forward passes until it is done.
    """

    @property
    def spec(self) -> JobSpec: ...
    @property
    def rows(self) -> int: ...
    @property
    def share_key(self) -> Hashable: ...
    @property
    def cost_key(self) -> Hashable: ...
    @property
    def step(self) -> int: ...
    @property
    def passes_left(self) -> int: ...

    def advance(self, prediction: Any) -> None:
        """Take in what a pass predicted for it, which is when noise is drawn and its scheduler moves on."""


D = TypeVar("D", bound=Denoising)


class Adapter(Protocol[D]):
    """
    A loaded model, seen as the three things that a device does.

    What a method raises fails the jobs that it was called with; the engine finds out which of several was to blame.
    """

    @property
    def entry(self) -> Model:
        """Its entry in the catalogue."""

    def encode(self, specs: Sequence[JobSpec]) -> list[Any]:
        """What each job is conditioned on, for `begin`."""

    def begin(self, spec: JobSpec, conditioning: Any) -> D:
        """A job at its first step."""

    def predict(self, batch: Sequence[D], max_rows: int, on_step: OnStep) -> list[Any]:
        """
        One pass for each of a batch with one `share_key`. Changes none of them, so it can be tried again.

        Args:
            max_rows: Rows of one forward at most; a batch with more takes several.
            on_step: For families whose one pass is a whole run of several steps: told after each.

        Returns:
            For each of the batch, what its `advance` takes.
        """

    def decode(self, denoising: D, max_images: int) -> list[Pixels]:
        """
        The pictures of a job that is done: n arrays, uint8 (height, width, 3). Changes nothing, so it can be tried
        again.

        Args:
            max_images: That are decoded together at most.

        Raises:
            GenerationFailed: `invalid_output`, where a latent is not finite.
        """

    def trial(self, denoising: D) -> D:
        """A job whose pass takes as long as that of `denoising`, or a fixed part of it, to measure with."""
