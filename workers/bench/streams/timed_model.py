"""A model's jobs on a device of which only T(B) is known: the model itself says what may share a pass."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Mapping, Sequence

from jobs.kinds.generate import GenerateSpec
from workers.engine.adapter import AnyAdapter, OnStep
from workers.engine.run import Run

PassSeconds = Callable[[int], float]  # T(B): of a pass, by its rows


def between(measured: Mapping[int, float]) -> PassSeconds:
    """
    T(B) on straight lines between measured passes; further rows cost what the last ones did.

    Args:
        measured: Seconds by rows, ascending, of two sizes at least.
    """
    sizes = list(measured)

    def pass_s(rows: int) -> float:
        end = min(max(bisect_left(sizes, rows), 1), len(sizes) - 1)
        low, high = sizes[end - 1], sizes[end]
        row_s = (measured[high] - measured[low]) / (high - low)
        return measured[low] + (rows - low) * row_s

    return pass_s


class KnownJobs:
    """
    What a model's jobs are for the engine. Each sort is encoded and begun once, for its rows, keys and passes.

    Args:
        adapter: The loaded model.
    """

    def __init__(self, adapter: AnyAdapter) -> None:
        self._adapter = adapter
        self._begun: dict[Hashable, Run] = {}

    @property
    def name(self) -> str:
        """Of the model."""
        return self._adapter.name

    def begin(self, spec: GenerateSpec) -> Run:
        """A job at its first step, which is not to be advanced: others of other seeds are given the same."""
        sort = (spec.prompt, spec.negative_prompt, spec.n, spec.share())
        if sort not in self._begun:
            self._begun[sort] = self._adapter.begin(spec, self._adapter.encode([spec])[0])
        return self._begun[sort]


class TimedRun:
    """A job that only counts its passes; the rest is as of the model's own."""

    def __init__(self, begun: Run) -> None:
        self.rows = begun.rows
        self.share_key = begun.share_key
        self.cost_key = begun.cost_key
        self.steps = begun.steps
        self.outputs = begun.outputs
        self.warnings = begun.warnings
        self.passes_left = begun.passes_left
        self._passes = begun.passes_left

    @property
    def step(self) -> int:
        return (self._passes - self.passes_left) * self.steps // self._passes

    def advance(self, _prediction: None) -> None:
        self.passes_left -= 1

    def note_shortage(self) -> None:
        """Its device has no memory to be short."""


class TimedModel:
    """
    An adapter that predicts nothing: passes take their time, encoding and decoding none.

    Args:
        jobs: Of the model that it stands for.
        pass_s: The device's.
        sleep: Has the device busy for some seconds.
    """

    def __init__(self, jobs: KnownJobs, pass_s: PassSeconds, sleep: Callable[[float], None]) -> None:
        self._jobs = jobs
        self._pass_s = pass_s
        self._sleep = sleep

    @property
    def name(self) -> str:
        return self._jobs.name

    def encode(self, works: Sequence[GenerateSpec]) -> list[None]:
        return [None] * len(works)

    def begin(self, work: GenerateSpec, _conditioning: None) -> TimedRun:
        return TimedRun(self._jobs.begin(work))

    def fixed_rows(self, _run: TimedRun) -> None:
        """No job is reproducible."""

    def predict(self, batch: Sequence[TimedRun], max_rows: int, _on_step: OnStep) -> list[None]:
        """In forwards of about equal size where the rows are more than `max_rows`, as families have it."""
        rows = sum(each.rows for each in batch)
        forwards = -(-rows // max_rows)
        sizes = [rows // forwards + (number < rows % forwards) for number in range(forwards)]
        self._sleep(sum(self._pass_s(size) for size in sizes))
        return [None] * len(batch)

    def finish(self, _run: TimedRun, _max_outputs: int) -> None:
        return None

    def trial(self, run: TimedRun) -> TimedRun:
        return run
