"""
Streams of jobs on a simulated device, in virtual time: the engine, and the two policies that it is measured against.

An hour of arrivals takes a second, and equal input gives equal output.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from jobs.catalogue.entry import Model
from jobs.kinds.generate import GenerateSpec
from workers.engine.adapter import AnyAdapter
from workers.engine.capacity import Capacity
from workers.engine.engine import Engine
from workers.engine.run import Run
from workers.engine.ticket import GENERATE, Ticket
from workers.families.simulated import DeviceTimes, SimulatedModel, VirtualClock

# Makes a model on a device, of a function that has the device busy for some seconds.
MakeModel = Callable[[Callable[[float], None]], AnyAdapter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A job that comes `at_s` seconds after the start."""

    at_s: float
    spec: GenerateSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    How a stream of jobs fared.

    Attributes:
        latencies_s: From arrival to pictures, in the order of `arrivals` as given.
        makespan_s: From the start to the last picture.
        images: Pictures made.
    """

    latencies_s: list[float]
    makespan_s: float
    images: int

    @property
    def images_per_s(self) -> float:
        return self.images / self.makespan_s

    @property
    def mean_s(self) -> float:
        return sum(self.latencies_s) / len(self.latencies_s)

    @property
    def p50_s(self) -> float:
        """The latency that half of the jobs do not exceed (nearest rank)."""
        return self._percentile_s(0.5)

    @property
    def p95_s(self) -> float:
        """The latency that 95 % of the jobs do not exceed (nearest rank)."""
        return self._percentile_s(0.95)

    def _percentile_s(self, share: float) -> float:
        return sorted(self.latencies_s)[math.ceil(share * len(self.latencies_s)) - 1]


def poisson_arrivals(
    rate_per_s: float, count: int, spec_of: Callable[[random.Random, int], GenerateSpec], seed: int
) -> list[Arrival]:
    """A Poisson stream of `count` jobs; `spec_of` makes the i-th from the stream's own random numbers."""
    numbers = random.Random(seed)
    at_s, arrivals = 0.0, []
    for index in range(count):
        at_s += numbers.expovariate(rate_per_s)
        arrivals.append(Arrival(at_s=at_s, spec=spec_of(numbers, index)))
    return arrivals


def simulated(entry: Model, times: DeviceTimes) -> MakeModel:
    """The model that a simulated device has."""
    return partial(SimulatedModel, entry, times)


def size(spec: GenerateSpec) -> tuple[int, int]:
    """Jobs of one size can share a forward of most models."""
    return spec.width, spec.height


def best_rows(make_model: MakeModel, spec: GenerateSpec) -> int:
    """How many rows the engine gives a pass of such jobs."""
    clock = VirtualClock()
    model = make_model(clock.sleep)
    return Capacity(clock=clock).learn(model, model.begin(spec, model.encode([spec])[0])).best_rows


def run_engine(arrivals: Sequence[Arrival], make_model: MakeModel) -> Outcome:
    """
    The engine, turn by turn, on one thread as on a CPU. Its batch sizes are measured before the stream starts.

    A job counts as done at the end of the turn in which its pictures are decoded.
    """
    clock = VirtualClock()
    model = make_model(clock.sleep)
    engine = Engine({model.name: model}, Capacity(clock=clock), clock=clock)
    _measure_sizes(engine, arrivals)
    stream = _Stream(arrivals, clock)
    open_tickets: dict[int, Ticket[Any]] = {}
    while stream.goes_on or open_tickets:
        open_tickets |= {index: engine.submit(spec.model, spec) for index, spec in stream.arrived()}
        if not open_tickets:
            stream.skip_to_next()
            continue
        engine.turn()
        for index in [index for index, ticket in open_tickets.items() if _is_decoded(ticket)]:
            open_tickets.pop(index)
            stream.note_done(index)
    return stream.outcome()


def _is_decoded(ticket: Ticket[Any]) -> bool:
    """Whether its pictures are there; they are handed over when the next pass begins, at the same time."""
    if ticket.is_over:
        ticket.result()  # A simulated job that fails is a bug.
    return GENERATE in ticket.timings


def run_one_at_a_time(arrivals: Sequence[Arrival], make_model: MakeModel) -> Outcome:
    """First come, first served, each job alone: the worker that tutorials show."""
    return run_request_batches(arrivals, make_model, max_rows=1)


def run_request_batches(
    arrivals: Sequence[Arrival],
    make_model: MakeModel,
    max_rows: int,
    alike: Callable[[GenerateSpec], Hashable] = size,
) -> Outcome:
    """
    Batching at the level of requests.

    Takes the oldest waiting job and those behind it that are like it, and runs them in one forward until the longest is
    done. Rows that are done drop out of it, but nothing joins, and all are handed out at the end.

    Args:
        max_rows: Of a forward; a single job may be larger.
        alike: What jobs of a batch have in common.
    """
    clock = VirtualClock()
    model = make_model(clock.sleep)
    stream = _Stream(arrivals, clock)
    waiting: list[tuple[int, GenerateSpec]] = []
    begun: dict[int, Run] = {}
    while stream.goes_on or waiting:
        waiting += stream.arrived()
        if not waiting:
            stream.skip_to_next()
            continue
        key = alike(waiting[0][1])
        batch = _take_batch([job for job in waiting if alike(job[1]) == key], begun, model, max_rows)
        waiting = [job for job in waiting if job[0] not in batch]
        _run_together(model, list(batch.values()))
        for index in batch:
            stream.note_done(index)
    return stream.outcome()


def _take_batch(
    waiting: Sequence[tuple[int, GenerateSpec]], begun: dict[int, Run], model: AnyAdapter, max_rows: int
) -> dict[int, Run]:
    """The first, and those behind it for which there is room; `begun` keeps what is begun and has to wait."""
    batch: dict[int, Run] = {}
    rows = 0
    for index, spec in waiting:
        if batch and rows >= max_rows:
            break
        if index not in begun:
            begun[index] = model.begin(spec, model.encode([spec])[0])
        if batch and rows + begun[index].rows > max_rows:
            break
        batch[index] = begun.pop(index)
        rows += batch[index].rows
    return batch


def _run_together(model: AnyAdapter, runs: Sequence[Run]) -> None:
    while running := [run for run in runs if run.passes_left]:
        predictions = model.predict(running, sum(run.rows for run in running), lambda _step: None)
        for run, prediction in zip(running, predictions, strict=True):
            run.advance(prediction)
    for run in runs:
        model.finish(run, run.outputs)


def _measure_sizes(engine: Engine, arrivals: Sequence[Arrival]) -> None:
    """Run a job of each size, so that no measuring falls into the stream, as a worker does when it starts."""
    first_of_size = {size(arrival.spec): arrival.spec for arrival in reversed(arrivals)}
    for spec in first_of_size.values():
        ticket = engine.submit(spec.model, spec.model_copy(update={"num_inference_steps": 1}))
        while not ticket.is_over:
            engine.turn()


class _Stream:
    """Arrivals by the virtual clock, from its present time on, and when each was done."""

    def __init__(self, arrivals: Sequence[Arrival], clock: VirtualClock) -> None:
        self._clock = clock
        self._start_s = clock.now_s
        self._arrivals = arrivals
        self._to_come = deque(sorted(enumerate(arrivals), key=lambda each: each[1].at_s))
        self._done_s: dict[int, float] = {}

    @property
    def goes_on(self) -> bool:
        return bool(self._to_come)

    def arrived(self) -> list[tuple[int, GenerateSpec]]:
        """Index and job of those that have come since the last call."""
        come = []
        while self._to_come and self._start_s + self._to_come[0][1].at_s <= self._clock.now_s:
            index, arrival = self._to_come.popleft()
            come.append((index, arrival.spec))
        return come

    def skip_to_next(self) -> None:
        """Nothing is to be done until then."""
        self._clock.now_s = self._start_s + self._to_come[0][1].at_s

    def note_done(self, index: int) -> None:
        self._done_s[index] = self._clock.now_s - self._start_s

    def outcome(self) -> Outcome:
        done = [self._done_s[index] for index in range(len(self._arrivals))]
        latencies = [end - arrival.at_s for end, arrival in zip(done, self._arrivals, strict=True)]
        images = sum(arrival.spec.n for arrival in self._arrivals)
        return Outcome(latencies_s=latencies, makespan_s=max(done), images=images)
