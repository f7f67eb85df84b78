"""How a kind of job runs. A kind's runner is a file beside this one, and a line in `workers.runners.registry`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from jobs.catalogue.entry import Model
from workers.engine.engine import Engine
from workers.runners.files import MadeFile
from workers.runners.signing import PictureSigner

Note = Callable[[str, int, int], None]  # called with a stage, its step and its steps
Send = Callable[[Mapping[str, Any]], None]  # given what those who follow the job are to see now, as JSON takes it

MAX_RECORD_DATA_BYTES = 64 << 10  # of what a job's record keeps of what was made; more belongs into a file

S_contra = TypeVar("S_contra", contravariant=True)  # a specification of the kind
R = TypeVar("R")  # what a run of it makes
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """
    What a runner may use.

    Attributes:
        engine: Runs what its models' adapters take.
        entry: Of the job's model; None for a kind that needs none.
        inputs: The objects that the job named, as `Runner.open` has them, by the fields that name them.
        signer: Signs files of pictures, after all else; None where the operator has no certificate for it.
        send: Makes an event `data` of the job, of 4 KiB at most; from any thread, and quick.
    """

    engine: Engine
    entry: Model | None = None
    inputs: Mapping[str, Any]
    signer: PictureSigner | None = None
    send: Send = lambda _data: None


class Running(Protocol[R_co]):
    """
    A run under way; the engine's `Ticket` is one.

    Attributes:
        timings: Seconds of each stage that it passed.
        batch_facts: What its trace has of the batches that it was part of.
        warnings: What the job's record says though it went well, a sentence each; there when the result is.
    """

    @property
    def timings(self) -> Mapping[str, float]: ...
    @property
    def batch_facts(self) -> Mapping[str, Any]: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...

    def leave(self, reason: BaseException) -> None:
        """Ask it to end, from any thread; `result` then raises `reason`."""

    def result(self) -> R_co:
        """Wait for what it makes. Raises `GenerationFailed`, `EngineDied`, or why it left."""


class Runner(Protocol[S_contra, R]):
    """
    Takes a job from its specification to files. A kind's runner inherits from it.

    Attributes:
        first_stage: Which the job enters as it begins.
    """

    first_stage: str

    def input_bytes(self, spec: S_contra) -> int:
        """How much memory the job's inputs take beside their objects, while they are opened and until it has begun."""
        del spec
        return 0

    def begun_bytes(self, spec: S_contra) -> int | None:
        """How much of that, and of their objects, they take from then on until its end; None for all of it."""
        del spec
        return None

    def open(self, field: str, data: bytes, spec: S_contra) -> Any:
        """
        An object that the job named, as `Tools.inputs` has it: before the job takes an engine slot.

        Raises:
            GenerationFailed: `invalid_input`: it is not what the field takes; the text does not name the field.
        """
        del field, spec
        return data

    @abstractmethod
    def start(self, spec: S_contra, tools: Tools, note: Note) -> Running[R]:
        """Begin. Returns at once; `note` is called by any thread, and is quick."""

    def warnings(self, spec: S_contra, tools: Tools) -> tuple[str, ...]:
        """What the job's record says of its specification though it goes well, beside the run's own warnings."""
        del spec, tools
        return ()

    @abstractmethod
    def file_bytes(self, spec: S_contra) -> int:
        """How much memory making one of the files takes, at the worst."""

    @abstractmethod
    def files(self, result: R, spec: S_contra, tools: Tools) -> Iterator[MadeFile]:
        """The files, each made as it is asked for: between any two the job may leave."""

    @abstractmethod
    def count(self, result: R, spec: S_contra) -> int:
        """How many files those are."""

    @abstractmethod
    def data(self, result: R, spec: S_contra) -> dict[str, Any] | None:
        """What was made that needs no object of its own: JSON of `MAX_RECORD_DATA_BYTES` at most, for the record."""
