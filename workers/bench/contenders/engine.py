"""The engine as a contender: jobs go in from threads that wait for them, as a worker's do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from jobs.kinds.generate import GenerateSpec
from workers.bench.streams.real_time import serve_by_engine
from workers.bench.streams.simulation import Arrival, Outcome
from workers.process.start import ReadyEngine
from workers.runners.edit_work import Work, spec_of
from workers.runners.postprocess import Pixels


class EngineContender:
    """A running engine. Only its own threads compute; ours hand jobs in and wait."""

    def __init__(self, ready: ReadyEngine) -> None:
        self._engine = ready.engine
        self._jobs_a_pass = ready.jobs_a_pass

    def jobs_a_pass(self) -> int:
        """How many jobs share a pass, as measured at the start."""
        return self._jobs_a_pass

    def make(self, specs: Sequence[GenerateSpec]) -> float:
        """Make the pictures, all jobs at once. Returns how many seconds it took."""
        return max(self.sustain(specs, len(specs)))

    def sustain(self, specs: Sequence[GenerateSpec], at_once: int) -> list[float]:
        """Make the pictures with so many jobs in the engine. Returns when each was done, in seconds from the start."""
        started = time.perf_counter()

        def run(spec: GenerateSpec) -> float:
            self._engine.submit(spec.model, spec).result()
            return time.perf_counter() - started

        with ThreadPoolExecutor(at_once) as threads:
            return list(threads.map(run, specs))

    def make_pictures(self, works: Sequence[Work]) -> list[Pixels]:
        """Make edits or generations, all at once. Returns the first picture of each, uint8 (height, width, 3)."""
        tickets = [self._engine.submit(spec_of(each).model, each) for each in works]
        return [ticket.result()[0] for ticket in tickets]

    def serve(self, arrivals: Sequence[Arrival]) -> Outcome:
        """Take jobs as they come."""
        return serve_by_engine(self._engine, arrivals)

    def close(self) -> None:
        """Stop the engine: a process that ends while its threads compute is killed by its own C++ runtime."""
        self._engine.stop()
