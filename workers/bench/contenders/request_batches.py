"""
Batching at the level of requests, as model servers do it: jobs that wait are run together, and handed out together.

In one thing it is better than most: a job that has done its steps takes no part in the forwards that its batch still
needs. Nobody joins before the longest is done (Yu et al. 2022, Orca, section 3.1, on why that costs latency).
"""

from __future__ import annotations

from collections.abc import Sequence

from jobs.kinds.generate import GenerateSpec
from workers.bench.streams.real_time import serve_in_batches
from workers.bench.streams.simulation import Arrival, Outcome
from workers.engine.adapter import AnyAdapter


class RequestBatches:
    """
    Runs batches on the same forward, schedulers and decoder as the engine.

    Args:
        max_jobs: Of a batch; what the engine lets share a pass.
    """

    def __init__(self, adapter: AnyAdapter, max_jobs: int) -> None:
        self._adapter = adapter
        self._max_jobs = max_jobs

    def serve(self, arrivals: Sequence[Arrival]) -> Outcome:
        """Take jobs as they come."""
        return serve_in_batches(arrivals, self.run, self._max_jobs)

    def run(self, specs: list[GenerateSpec]) -> None:
        """Make the pictures of one batch."""
        adapter = self._adapter
        conditionings = adapter.encode(specs)
        batch = [adapter.begin(spec, each) for spec, each in zip(specs, conditionings, strict=True)]
        running = batch
        while running:
            rows = sum(each.rows for each in running)
            predictions = adapter.predict(running, rows, lambda _step: None)
            for each, prediction in zip(running, predictions, strict=True):
                each.advance(prediction)
            running = [each for each in running if each.passes_left]
        for each in batch:
            adapter.finish(each, each.outputs)
