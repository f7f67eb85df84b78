"""One model served: how many pictures the engine makes, and how long jobs take, against batches of requests."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from jobs.kinds.generate import GenerateSpec
from workers.bench.contenders.request_batches import RequestBatches
from workers.bench.device.subject import Subject
from workers.bench.streams.real_time import serve_by_engine
from workers.bench.streams.simulation import Outcome, poisson_arrivals
from workers.engine.capacity import Capacity
from workers.engine.engine import Engine
from workers.engine.streams import device_clock

ENGINE, BATCHES = "engine", "request batches"

_PASSES_FULL = 4  # of jobs, for the engine: so many that the last pictures, decoded with nothing beside them, are few
_ROUNDS = 3
_ROUNDS_S = 40.0  # after which none is begun
_FEWEST_JOBS, _MOST_JOBS = 40, 400  # of a stream
_FEWEST_STEPS = 4
_SPREAD = (0.5, 1.0, 1.5)  # of a stream's steps, equally likely


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Images per second of each round, steps of a job, and how many jobs share a pass at best."""

    images_per_s: Sequence[float]
    steps: int
    jobs_a_pass: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """From arrival to pictures, in seconds, and pictures a second from the first arrival to the last picture."""

    p50_s: float
    p95_s: float
    mean_s: float
    images_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """
    A Poisson stream, served in real time by the engine and in batches of requests, which wait for their longest job.

    Attributes:
        load: As a share of what the engine makes of such jobs when all are there at once.
        steps: Of jobs, equally likely: fewer than usual where a stream of usual jobs would take too long.
        served: By the way to serve, `ENGINE` and `BATCHES`.
    """

    load: float
    jobs: int
    steps: Sequence[int]
    jobs_a_pass: int
    served: Mapping[str, Latencies]


class Served:
    """
    A model and its batch sizes, which hold from one measurement to the next.

    Args:
        subject: The model.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._capacity = Capacity(clock=device_clock(subject.device))

    def rate(self, side: int, steps: int, *, in_turns: bool = False) -> Rate:
        """
        What the engine makes of jobs that are all there at once.

        Args:
            side: Of pictures, in pixels.
            in_turns: Each pass on this thread, with nothing beside it: pictures are decoded in between.
        """
        engine = self._engine(started=not in_turns)
        try:
            jobs_a_pass = self._measure(engine, side, in_turns=in_turns)
            seeds = range(_PASSES_FULL * jobs_a_pass)
            specs = [self.subject.spec(seed, side, num_inference_steps=steps) for seed in seeds]
            took: list[float] = []
            while len(took) < _ROUNDS and sum(took) < _ROUNDS_S:
                took.append(_run(engine, specs, in_turns=in_turns))
        finally:
            engine.stop()
        return Rate(images_per_s=[len(specs) / each for each in took], steps=steps, jobs_a_pass=jobs_a_pass)

    def load(self, side: int, load: float, longest_s: float) -> Load:
        """
        Serve one stream both ways, one after the other.

        Args:
            longest_s: Of the stream, about. It has 400 jobs at most, and 40 at least, of fewer steps where usual ones
                would take longer.
        """
        engine = self._engine(started=True)
        try:
            jobs_a_pass = self._measure(engine, side)
            steps = self._steps(side, load, longest_s)
            sample = [self._job(side, steps, random.Random(seed), seed) for seed in range(2 * max(jobs_a_pass, 3))]
            rate_per_s = load * len(sample) / _run(engine, sample, in_turns=False)
            jobs = max(_FEWEST_JOBS, min(_MOST_JOBS, int(rate_per_s * longest_s)))
            arrivals = poisson_arrivals(rate_per_s, jobs, partial(self._job, side, steps), seed=1)
            by_engine = serve_by_engine(engine, arrivals)
        finally:
            engine.stop()
        batches = RequestBatches(self.subject.adapter, jobs_a_pass).serve(arrivals)
        served = {ENGINE: _latencies(by_engine), BATCHES: _latencies(batches)}
        return Load(load=load, jobs=len(arrivals), steps=steps, jobs_a_pass=jobs_a_pass, served=served)

    def _engine(self, *, started: bool) -> Engine:
        subject = self.subject
        engine = Engine({subject.adapter.name: subject.adapter}, self._capacity, device=subject.device)
        if started:
            engine.start()
        return engine

    def _measure(self, engine: Engine, side: int, *, in_turns: bool = False) -> int:
        """How many jobs share a pass; measured where it is not known, and its passes warm."""
        spec = self.subject.spec(0, side, num_inference_steps=2)
        ticket = engine.submit(spec.model, spec)
        while in_turns and not ticket.is_over:
            engine.turn()
        ticket.result()
        _run(engine, [spec] * ticket.jobs_a_pass, in_turns=in_turns)
        return ticket.jobs_a_pass

    def _steps(self, side: int, load: float, longest_s: float) -> tuple[int, ...]:
        """Of jobs of a stream that takes no longer."""
        spec = self.subject.spec(0, side)
        run = self.subject.adapter.begin(spec, self.subject.adapter.encode([spec])[0])
        step_s = run.rows * self._capacity.seconds_per_row(run)
        most = int(longest_s * load / (_FEWEST_JOBS * step_s))
        middle = max(_FEWEST_STEPS, min(spec.num_inference_steps, most))
        return tuple(math.ceil(share * middle) for share in _SPREAD)

    def _job(self, side: int, steps: Sequence[int], numbers: random.Random, seed: int) -> GenerateSpec:
        return self.subject.spec(seed, side, num_inference_steps=numbers.choice(steps))


def _run(engine: Engine, specs: Sequence[GenerateSpec], *, in_turns: bool) -> float:
    """Hand all jobs in at once, and wait for them or run the engine until they are done; seconds."""
    started = time.perf_counter()
    tickets = [engine.submit(spec.model, spec) for spec in specs]
    while in_turns and not all(ticket.is_over for ticket in tickets):
        engine.turn()
    for ticket in tickets:
        ticket.result()
    return time.perf_counter() - started


def _latencies(outcome: Outcome) -> Latencies:
    return Latencies(p50_s=outcome.p50_s, p95_s=outcome.p95_s, mean_s=outcome.mean_s, images_per_s=outcome.images_per_s)
