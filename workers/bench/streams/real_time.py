"""A stream of jobs in real time: by the engine, or by workers that are busy with a batch of them until it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from jobs.kinds.generate import GenerateSpec
from workers.bench.streams.simulation import Arrival, Outcome
from workers.engine.engine import Engine


def serve_in_batches(arrivals: Sequence[Arrival], run: Callable[[list[GenerateSpec]], None], max_jobs: int) -> Outcome:
    """
    First come, first served: as many of the waiting jobs as `max_jobs` at a time.

    Args:
        arrivals: In the order of their times, all of one size.
        run: Makes the pictures of a batch; its jobs are done when it returns.
    """
    started = time.perf_counter()
    done_s: list[float] = []
    while len(done_s) < len(arrivals):
        first, *others = arrivals[len(done_s) : len(done_s) + max_jobs]
        sleep_until(started + first.at_s)
        now_s = time.perf_counter() - started
        batch = [first, *(each for each in others if each.at_s <= now_s)]
        run([each.spec for each in batch])
        done_s += [time.perf_counter() - started] * len(batch)
    return outcome(arrivals, done_s)


def serve_by_engine(engine: Engine, arrivals: Sequence[Arrival]) -> Outcome:
    """Hand jobs to a running engine as they come, and wait for all of them."""
    started = time.perf_counter()
    submitted = []
    for each in arrivals:
        sleep_until(started + each.at_s)
        ticket = engine.submit(each.spec.model, each.spec)
        submitted.append((time.perf_counter() - started, ticket))
    for _, ticket in submitted:
        ticket.result()
    return outcome(arrivals, [at_s + sum(ticket.timings.values()) for at_s, ticket in submitted])


def sleep_until(at: float) -> None:
    """Sleep until `time.perf_counter` shows this."""
    time.sleep(max(0.0, at - time.perf_counter()))


def outcome(arrivals: Sequence[Arrival], done_s: Sequence[float]) -> Outcome:
    """How the jobs fared that were done at these seconds after the start."""
    return Outcome(
        latencies_s=[done - each.at_s for done, each in zip(done_s, arrivals, strict=True)],
        makespan_s=max(done_s),
        images=sum(each.spec.n for each in arrivals),
    )
