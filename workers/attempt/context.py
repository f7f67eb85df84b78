"""What everything in one worker process shares."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jobs.announce.announcer import Announcer
from jobs.broker.dispatch import Dispatcher
from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.inputs.find import Finder
from jobs.process.traces import Traces
from jobs.table.claim import Claim
from jobs.table.table import JobTable
from storage.errors import StorageMisconfigured
from storage.store import Store
from workers.attempt.engine_slots import EngineSlots
from workers.attempt.leases import LeaseKeeper
from workers.attempt.memory import MemoryBudget
from workers.attempt.metrics import WorkerMetrics
from workers.attempt.progress import ProgressWriter
from workers.attempt.residents import Residents
from workers.attempt.spool import Spool
from workers.engine.engine import Engine
from workers.runners.registry import RUNNERS
from workers.runners.signing import PictureSigner


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """
    Made once, when the process starts.

    Attributes:
        served: Names of the models that it takes jobs of.
        residents: Those of them that the engine has at the moment.
        name: Of the process, as it owns jobs.
        finder: Finds what messages name as inputs.
        engine_slots: One for each job that may be in the engine; a job without one has not begun.
        memory: Of postprocessing.
        input_memory: Of what jobs start from.
        signer: Of pictures, where there is a certificate for it.
        stop_refused: Has the worker stop in order, for the store refuses what it makes.
        draining, out_of_time: Set when the worker begins to stop, and when what runs has had its time.
    """

    name: str
    catalogue: Catalogue
    table: JobTable
    dispatcher: Dispatcher
    announcer: Announcer
    store: Store
    finder: Finder
    engine: Engine
    served: frozenset[str]
    engine_slots: EngineSlots
    leases: LeaseKeeper
    progress: ProgressWriter
    spool: Spool
    memory: MemoryBudget
    input_memory: MemoryBudget
    stop_refused: Callable[[StorageMisconfigured], None]
    signer: PictureSigner | None = None
    residents: Residents = field(default_factory=Residents)
    draining: threading.Event = field(default_factory=threading.Event)
    out_of_time: threading.Event = field(default_factory=threading.Event)
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)
    traces: Traces = field(default_factory=Traces)

    def entry_of(self, spec: Any) -> Model | None:
        """The catalogue's entry of a job's model; None for a kind that needs none, or a model that is not in it."""
        return self.catalogue.models.get(getattr(spec, "model", ""))

    def made_by(self, spec: Any) -> str:
        """What a picture that waits was made by; where an operator has changed that meanwhile, it is made anew."""
        model = self.entry_of(spec)
        if model is None:
            return ""
        is_signed = " signed" if self.signer is not None else ""
        return f"{model.revision} {model.dtype}" + (" mark" if model.metadata == "mark" else "") + is_signed

    def serves(self, claim: Claim) -> bool:
        """Whether jobs like this one are run here."""
        model = getattr(claim.spec, "model", None)
        return claim.record.kind in RUNNERS and (model is None or model in self.served)

    def pass_on(self, released: list[str]) -> None:
        """Send the messages of jobs that were released in turn. A failure is nobody's here: they stay released."""
        self.dispatcher.offer(released)
