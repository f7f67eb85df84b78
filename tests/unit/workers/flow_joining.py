"""Jobs of flow-matching models that join others at each turn of an engine, and how far they come out from others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from jobs.kinds.generate import GenerateSpec
from tests.unit.workers import flow
from tests.unit.workers.adapters import Watched, make_engine, run, submit
from workers.families.flow.family import FlowFamily
from workers.families.parts.scheduler_names import OWN

TOLERANCE = 1e-4  # relative to the largest value
MODELS = tuple(flow.PIPELINES)
ANY_SIZE = "z-image"
# Enough for a change: one that packs, two with masks, one that takes any size, one with a guider for each job.
QUICK = ("flux-dev", "qwen-image", ANY_SIZE, "hunyuan-image")

_COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta")
_PAIRS = 3  # of a model that runs with one scheduler alone


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedRun:
    """Two jobs or more of each scheduler, and their latents by seed as the engine made them in one run."""

    jobs: dict[str, list[GenerateSpec]]
    watched: Watched
    adapter: FlowFamily


def two_jobs(model: str, index: int, name: str) -> list[GenerateSpec]:
    """With the model's guidance, and without; no two schedulers have the same texts, seeds, steps and scales."""
    colour, traits, side = _COLOURS[index % 6], flow.entry_of(model).traits, flow.side_of(model)
    # A consistency model is made for one to four; of two it has a schedule of its own.
    steps = (2, 1, 4)[index % 3] if model == "sana-sprint" else 3 + index % 3
    guided = flow.spec_of(
        model,
        prompt=f"a large {colour} circle" + " and a small square" * (index % 3) + flow.letters_of(model, colour, index),
        negative_prompt="gray, blurred" if traits.negative_prompt and index % 2 else "",
        seed=10 * index,
        scheduler=name,
        num_inference_steps=steps,
        guidance_scale=2.5 + index % 3,
        width=2 * side if model == ANY_SIZE and index % 2 else side,
        n=1 + index % 2,
    )
    plain = flow.spec_of(
        model,
        prompt=f"a ring, {colour}",
        seed=1000 + 10 * index,
        scheduler=name,
        num_inference_steps=6 - index % 3,
        guidance_scale=traits.guided_above,
        shift=1.5 + index if traits.shift and index % 2 else None,
        n=2,
        height=48 if model == ANY_SIZE and not index % 2 else side,
    )
    return [guided, plain]


def mixed_jobs(model: str) -> dict[str, list[GenerateSpec]]:
    """By scheduler."""
    names = flow.names_of(model)
    indices = range(len(names) if len(names) > 1 else _PAIRS)
    jobs: dict[str, list[GenerateSpec]] = {name: [] for name in names}
    for index in indices:
        name = names[index % len(names)]
        jobs[name] += two_jobs(model, index, name)
    return jobs


def run_joining(watched: Watched, jobs: Sequence[GenerateSpec]) -> None:
    """Run all, one more joining at each turn."""
    engine = make_engine(watched)
    sizes = {(job.width, job.height): job for job in jobs}
    for job in sizes.values():  # Its pass is measured.
        run(engine, submit(engine, job.model_copy(update={"num_inference_steps": 1, "scheduler": OWN})))
    watched.passes.clear()
    tickets = []
    for job in jobs:
        tickets.append(submit(engine, job))
        engine.turn()
    run(engine, *tickets)
    for ticket in tickets:
        ticket.result()


@cache
def mixed_run(model: str) -> MixedRun:
    """One run of the engine for each model."""
    adapter = flow.adapter_of(model)
    watched, jobs = Watched(adapter), mixed_jobs(model)
    run_joining(watched, [job for each in jobs.values() for job in each])
    return MixedRun(jobs=jobs, watched=watched, adapter=adapter)


def distance(made: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert made.shape == expected.shape
    assert torch.isfinite(expected).all()
    return float((made - expected).abs().max() / expected.abs().max())
