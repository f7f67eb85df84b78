"""What all families of models that make pictures have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, final

from jobs.catalogue.entry import Edited, Model, WayToEdit
from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec
from workers.engine.adapter import OnStep
from workers.families.parts.compiled import CompiledRows
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.parts.pictures import check_pictures
from workers.runners.edit_work import Work
from workers.runners.postprocess import Pixels

_SHORTAGE = "reproducible: the device's memory was short, so it computed with fewer rows; the bytes may be others"


class PictureRun:
    """
    The images of one job on their way from noise to pictures: what its spec says for the engine's `Run`.

    Attributes:
        spec: The job.
        warnings: What its caller should know though it goes well, a sentence each: "prompt: cut to 77 tokens".
    """

    def __init__(self, spec: GenerateSpec) -> None:
        self.spec = spec
        self.warnings: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        return self.spec.passes

    @property
    def outputs(self) -> int:
        return self.spec.n

    def note_shortage(self) -> None:
        """As of the engine's `Run`; said once."""
        if _SHORTAGE not in self.warnings:
            self.warnings += (_SHORTAGE,)


P = TypeVar("P", bound=PictureRun)


class PictureFamily(ABC, Generic[P]):
    """
    A loaded model that makes pictures: the engine's adapter of `GenerateSpec` to a list of `Pixels`.

    What a family makes is held against the job here, so that none has to remember it.

    Attributes:
        entry: Its entry in the catalogue.
        compiled: What its passes are compiled for; None where they are not.
    """

    def __init__(self, entry: Model) -> None:
        self.entry = entry
        self.compiled = CompiledRows() if entry.compile else None

    @property
    def name(self) -> str:
        return self.entry.name

    @abstractmethod
    def encode(self, works: Sequence[GenerateSpec]) -> list[Any]:
        """What each job is conditioned on, for `begin`."""

    @abstractmethod
    def begin(self, work: GenerateSpec, conditioning: Any) -> P:
        """A job at its first step."""

    def fixed_rows(self, run: P) -> int | None:
        """As of `Adapter`; here where a reproducible job's forwards are padded to as many."""
        return self.entry.reproducible_rows if run.spec.reproducible else None

    @abstractmethod
    def predict(self, batch: Sequence[P], max_rows: int, on_step: OnStep) -> list[Any]:
        """One pass for each of a batch with one `share_key`; see `Adapter`."""

    @abstractmethod
    def decode(self, run: P, max_images: int) -> list[Pixels]:
        """
        The pictures of a job that is done: n arrays, uint8 (height, width, 3). Changes nothing.

        Args:
            max_images: That are decoded together at most.

        Raises:
            GenerationFailed: `invalid_output`, where a value is not finite.
        """

    @abstractmethod
    def trial(self, run: P) -> P:
        """A job whose pass takes as long as that of `run`, or a fixed part of it, to measure with."""

    @final
    def finish(self, run: P, max_outputs: int) -> list[Pixels]:
        """
        What `decode` makes, if it is what the job asks.

        Raises:
            GenerationFailed: As `decode` does.
            WrongPictures: It made another number of pictures, or others than of the job's size.
        """
        pixels = self.decode(run, max_outputs)
        check_pictures(pixels, run.spec, self.entry)
        return pixels

    @property
    def ways_to_edit(self) -> dict[Edited, WayToEdit] | None:
        """How it edits, as an entry of the catalogue says it; None for what the family says of all its models."""
        return None

    @property
    def most_references(self) -> int:
        """How many further pictures an edit may look at."""
        return 0

    @property
    def guidance(self) -> Guidance | None:
        """What `guidance_scale` is of the loaded model; None where that does not show."""
        return None

    @property
    def takes_negative_prompt(self) -> bool | None:
        """Whether the loaded model takes one; None where that does not show."""
        return None

    @property
    def side_multiple(self) -> int | None:
        """Of which sides have to be multiples, where the model says so."""
        return None

    @property
    def are_sides_tried(self) -> bool:
        """Whether it shows by a run alone which sides the model makes."""
        return False

    def work_to_try(self, spec: GenerateSpec) -> Work:
        """What the model does of this size: the generation itself, but where it does none."""
        return spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """
    How models of a family are loaded. Each family's module has one, as `FAMILY`: see `workers.families.registry`.

    Attributes:
        pipeline: The class of diffusers that loads a model; None for a family without weights.
        parts: Of the pipeline, which the adapter goes through.
        adapt: Makes the adapter, of the entry, the pipeline and a cache for embeddings.
    """

    pipeline: Any
    parts: tuple[str, ...] = ()
    adapt: Callable[[Model, Any, EmbeddingCache], PictureFamily[Any]]
