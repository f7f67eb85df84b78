"""Streams of jobs that differ in steps, guidance and text, in virtual time, by each way to batch them."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from functools import partial
from itertools import product

from jobs.catalogue.entry import Model
from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec
from workers.bench.streams.simulation import (
    Arrival,
    MakeModel,
    Outcome,
    best_rows,
    poisson_arrivals,
    run_engine,
    run_one_at_a_time,
    run_request_batches,
    size,
)
from workers.bench.streams.timed_model import KnownJobs, PassSeconds, TimedModel
from workers.bench.streams.ways import BATCHED, SINGLY, STEPWISE, UNLIKE

STEPS = (4, 9, 20, 28, 50)  # As FLUX.1-schnell, Z-Image-Turbo, SD 3.5, FLUX.1-dev and Qwen-Image are used.
TEXTS = (
    "a red circle",
    "a small red circle on a blue background, left of a large yellow star",
    "a photograph of " + "a small red circle on a blue background, left of a large yellow star, and " * 4 + "a tree",
)
_GUIDANCE_SCALES: dict[Guidance | None, tuple[float, ...]] = {
    "true": (0.0, 4.0),  # Off, which is a row of an image, and on, which is two.
    "embedded": (2.5, 3.5),
    "none": (0.0,),
}
_LAUNCHES = 20.0  # rows that a launch-bound device computes in the time in which it launches a pass


def launch_bound(row_s: float) -> PassSeconds:
    """T(B) of a device that launches far longer than it computes a row; `row_s` is T(1)."""
    return lambda rows: row_s * (_LAUNCHES + rows) / (_LAUNCHES + 1)


def saturated(row_s: float) -> PassSeconds:
    """T(B) of a device that is full with one row; `row_s` is T(1)."""
    return lambda rows: row_s * rows


def mixed_jobs(entry: Model) -> list[GenerateSpec]:
    """A job of each sort: all steps with all texts, with guidance as the model has it and without or another."""
    usual = entry.defaults.model_dump() | {"model": entry.name, "seed": 0}
    return [
        GenerateSpec.model_validate(usual | {"num_inference_steps": steps, "guidance_scale": scale, "prompt": text})
        for steps, scale, text in product(STEPS, _GUIDANCE_SCALES[entry.how_guided], TEXTS)
    ]


def rows_of_a_pass(known: KnownJobs, jobs: Sequence[GenerateSpec], pass_s: PassSeconds) -> int:
    """How many the engine gives it at most on such a device."""
    return best_rows(_on(known, pass_s), jobs[0])


def capacity(known: KnownJobs, jobs: Sequence[GenerateSpec], pass_s: PassSeconds, rows: int) -> float:
    """Jobs a second, equally many of each sort, in passes that always have so many rows."""
    return rows / pass_s(rows) / statistics.mean(run.rows * run.passes_left for run in map(known.begin, jobs))


def mixed_arrivals(jobs: Sequence[GenerateSpec], rate_per_s: float, count: int, seed: int) -> list[Arrival]:
    """A Poisson stream of jobs, each of any sort."""

    def draw(numbers: random.Random, index: int) -> GenerateSpec:
        return numbers.choice(jobs).model_copy(update={"seed": index})

    return poisson_arrivals(rate_per_s, count, draw, seed)


def compete(known: KnownJobs, arrivals: Sequence[Arrival], pass_s: PassSeconds, rows: int) -> dict[str, Outcome]:
    """
    Serve one stream by each way.

    - `STEPWISE`: the engine, whose jobs join and leave at each step.
    - `BATCHED`: requests that one call of diffusers takes together, those of equal steps, guidance and size.
    - `UNLIKE`: any requests of one size together, which no pipeline of diffusers takes; see `run_request_batches`.
    - `SINGLY`: first come, first served.

    Args:
        pass_s: The device's T(B).
        rows: Of a batch of requests, at most: as of the engine's passes, which it finds itself.
    """
    model = _on(known, pass_s)
    return {
        STEPWISE: run_engine(arrivals, model),
        BATCHED: run_request_batches(arrivals, model, rows, alike=GenerateSpec.share),
        UNLIKE: run_request_batches(arrivals, model, rows, alike=size),
        SINGLY: run_one_at_a_time(arrivals, model),
    }


def _on(known: KnownJobs, pass_s: PassSeconds) -> MakeModel:
    return partial(TimedModel, known, pass_s)
