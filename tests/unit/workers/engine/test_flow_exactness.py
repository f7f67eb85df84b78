"""
Jobs of flow-matching models that join others midway come out as if they were alone.

One run of the engine for each model has two jobs of every scheduler in it; at each turn one more joins. Steps,
schedulers, shifts, guidance and lengths of texts differ, and for a model that takes them, sizes. Afterwards each job is
compared with what diffusers' own pipeline makes of the same parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle
from typing import Any

import numpy as np
import pytest
import torch

from jobs.kinds.generate import GenerateSpec
from tests.unit.workers import flow
from tests.unit.workers.adapters import QUIET, Watched, make_engine, run, submit
from workers.bench.tiny_pipelines import FLOW_PIPELINES
from workers.families.flow.family import FlowFamily
from workers.families.flow.rows import FlowRow
from workers.families.parts.schedulers import OWN

pytestmark = pytest.mark.filterwarnings(QUIET)

TOLERANCE = 1e-4  # relative to the largest value
MODELS = tuple(FLOW_PIPELINES)
ANY_SIZE = "z-image"
# Enough for a change: one that packs, one with masks, one that takes any size.
QUICK = ("flux-dev", "qwen-image", ANY_SIZE)
SOME = [pytest.param(model, marks=[] if model in QUICK else [pytest.mark.long]) for model in MODELS]
# Likewise, beside each model's own.
FEW = dict(zip(MODELS, cycle(name for name in flow.NAMES if name != OWN), strict=False))

_COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedRun:
    """Two jobs of each scheduler, and their latents by seed as the engine made them in one run."""

    jobs: dict[str, list[GenerateSpec]]
    watched: Watched
    adapter: FlowFamily


def two_jobs(model: str, index: int, name: str) -> list[GenerateSpec]:
    """With the model's guidance, and without; no two schedulers have the same texts, seeds, steps and scales."""
    colour = _COLOURS[index % 6]
    takes_negative = flow.entry_of(model).traits.negative_prompt
    guided = flow.spec_of(
        model,
        prompt=f"a large {colour} circle" + " and a small square" * (index % 3),
        negative_prompt="gray, blurred" if takes_negative and index % 2 else "",
        seed=10 * index,
        scheduler=name,
        num_inference_steps=3 + index % 3,
        guidance_scale=2.5 + index % 3,
        width=64 if model == ANY_SIZE and index % 2 else 32,
        n=1 + index % 2,
    )
    off = flow.entry_of(model).traits.guided_above
    plain = flow.spec_of(
        model,
        prompt=f"a ring, {colour}",
        seed=1000 + 10 * index,
        scheduler=name,
        num_inference_steps=6 - index % 3,
        guidance_scale=off,
        shift=1.5 + index if index % 2 else None,
        n=2,
        height=48 if model == ANY_SIZE and not index % 2 else 32,
    )
    return [guided, plain]


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
    adapter = flow.adapter_of(model)
    watched = Watched(adapter)
    jobs = {name: two_jobs(model, index, name) for index, name in enumerate(flow.NAMES)}
    run_joining(watched, [job for pair in jobs.values() for job in pair])
    return MixedRun(jobs=jobs, watched=watched, adapter=adapter)


def distance(made: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert made.shape == expected.shape
    assert torch.isfinite(expected).all()
    return float((made - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(
    ("model", "name"),
    [
        pytest.param(model, name, marks=[] if model in QUICK and name in (OWN, FEW[model]) else [pytest.mark.long])
        for model in MODELS
        for name in flow.NAMES
    ],
)
def test_job_that_joined_midway_equals_diffusers_own_solo_run(model: str, name: str) -> None:
    mixed = mixed_run(model)
    for job in mixed.jobs[name]:
        assert distance(mixed.watched.latents[job.seed], flow.run_solo(mixed.adapter.pipeline, job)) <= TOLERANCE


@pytest.mark.parametrize("model", SOME)
def test_every_job_of_the_mixed_run_shared_passes_with_others(model: str) -> None:
    mixed = mixed_run(model)
    company = {job.seed: set[int]() for pair in mixed.jobs.values() for job in pair}
    for seeds in mixed.watched.passes:
        for seed in set(seeds):
            company[seed] |= set(seeds) - {seed}
    assert all(company.values())


def test_pictures_of_several_sizes_were_in_one_pass() -> None:
    mixed = mixed_run(ANY_SIZE)
    sizes = {job.seed: (job.width, job.height) for pair in mixed.jobs.values() for job in pair}
    assert max(len({sizes[seed] for seed in seeds}) for seeds in mixed.watched.passes) == 3


@pytest.mark.parametrize("model", MODELS)
def test_picture_is_what_the_pipeline_makes(model: str) -> None:
    adapter = flow.adapter_of(model)
    job = flow.spec_of(model, width=64, height=32, guidance_scale=adapter.entry.traits.guided_above)
    made = adapter.begin(job, adapter.encode([job])[0])
    while made.passes_left:
        made.advance(adapter.predict([made], 8, lambda _step: None)[0])
    [pixels] = adapter.finish(made, 1)
    scale = {"true_cfg_scale" if model == "qwen-image" else "guidance_scale": job.guidance_scale}
    expected = adapter.pipeline(
        prompt=[job.prompt],
        width=64,
        height=32,
        num_inference_steps=job.num_inference_steps,
        generator=[torch.Generator().manual_seed(job.seed)],
        max_sequence_length=flow.max_tokens(model),
        output_type="np",
        **scale,
    ).images[0]
    assert np.abs(pixels / 255 - expected).max() <= 1 / 255


# Teeth: each of these faults is one that the comparison must see.

Patch = Callable[[FlowFamily], None]


def prompts_of_the_neighbour(adapter: FlowFamily) -> None:
    """A pass gives each row the text of the one before."""
    forward = adapter._forward

    def faulty(rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        return forward([replace(row, text=rows[at - 1].text) for at, row in enumerate(rows)])

    adapter._forward = faulty  # type: ignore[method-assign]


def guidance_of_the_neighbour(adapter: FlowFamily) -> None:
    if adapter.entry.how_guided == "embedded":
        forward = adapter._forward

        def faulty(rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
            return forward([replace(row, guidance_scale=rows[at - 1].guidance_scale) for at, row in enumerate(rows)])

        adapter._forward = faulty  # type: ignore[method-assign]
    else:
        guide = adapter._guide
        adapter._guide = (  # type: ignore[method-assign]
            lambda with_prompt, without, scale: guide(with_prompt, without, scale + 1)
        )


def mu_off_by_one(adapter: FlowFamily) -> None:
    mu = adapter._mu
    adapter._mu = lambda spec: mu(spec) + 1  # type: ignore[method-assign]


def rows_off_by_one(adapter: FlowFamily) -> None:
    forward = adapter._forward

    def faulty(rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        made = list(forward(rows))
        return [made[at - 1] for at in range(len(made))]

    adapter._forward = faulty  # type: ignore[method-assign]


def mask_left_out(adapter: FlowFamily) -> None:
    """Texts are filled up to the longest, and the model is not told."""
    forward = adapter._forward

    def faulty(rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        texts = torch.nn.utils.rnn.pad_sequence([row.text[0] for row in rows], batch_first=True)
        return forward([replace(row, text=(text,)) for row, text in zip(rows, texts, strict=True)])

    adapter._forward = faulty  # type: ignore[method-assign]


def position_ids_swapped(adapter: FlowFamily) -> None:
    """Rows and columns of the picture."""
    if hasattr(adapter, "_image_ids"):
        image_ids = adapter._image_ids
        adapter._image_ids = lambda rows: image_ids(rows)[..., [*range(image_ids(rows).shape[-1])][::-1]]
    else:
        forward = adapter._forward
        adapter._forward = lambda rows: forward(  # type: ignore[method-assign]
            [replace(row, size=row.size[::-1]) for row in rows]
        )


IS_BY_SIZE = [model for model in MODELS if FLOW_PIPELINES[model][1]().scheduler.config.use_dynamic_shifting]
TEETH = [
    *((model, fault) for model in MODELS for fault in (prompts_of_the_neighbour, rows_off_by_one)),
    *((model, guidance_of_the_neighbour) for model in MODELS if flow.entry_of(model).how_guided != "none"),
    *((model, mu_off_by_one) for model in IS_BY_SIZE),
    *((model, mask_left_out) for model in ("qwen-image", "z-image")),
    *((model, position_ids_swapped) for model in MODELS if model.startswith("flux") or model == "qwen-image"),
]


@contextmanager
def two_in_a_run(model: str, fault: Patch | None) -> Iterator[tuple[Watched, GenerateSpec, Any]]:
    """Two jobs together, and the second of them."""
    adapter = flow.adapter_of(model)
    if fault is not None:
        fault(adapter)
    watched = Watched(adapter)
    common: dict[str, Any] = {"width": 64, "height": 32}
    first = flow.spec_of(
        model, prompt="a long description of a ring that is cyan", seed=1, guidance_scale=5.0, **common
    )
    second = flow.spec_of(model, prompt="a blue star", seed=2, guidance_scale=2.0, **common)
    engine = make_engine(watched)
    run(engine, submit(engine, first), submit(engine, second))
    yield watched, second, adapter.pipeline


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        pytest.param(model, fault, marks=[] if model in QUICK else [pytest.mark.long])
        for model, fault in [*((model, None) for model in MODELS), *TEETH]
    ],
)
def test_comparison_sees_a_fault(model: str, fault: Patch | None) -> None:
    with two_in_a_run(model, fault) as (watched, job, pipeline):
        away = distance(watched.latents[job.seed], flow.run_solo(pipeline, job))
    assert (away > TOLERANCE) is (fault is not None)


# Reproducible.


def run_in_order(model: str, jobs: Sequence[GenerateSpec], *, together: bool) -> tuple[Watched, dict[int, Any]]:
    watched = Watched(flow.adapter_of(model))
    engine = make_engine(watched)
    tickets = {}
    for job in jobs:
        tickets[job.seed] = submit(engine, job)
        if together:
            engine.turn()
        else:
            run(engine, tickets[job.seed])
    run(engine, *tickets.values())
    return watched, {seed: ticket.result() for seed, ticket in tickets.items()}


@pytest.mark.parametrize(
    "model", [pytest.param(model, marks=[] if model == ANY_SIZE else [pytest.mark.long]) for model in MODELS]
)
def test_reproducible_job_equals_its_own_solo_run_bit_for_bit(model: str) -> None:
    mixed = [job for index, name in enumerate(flow.NAMES) for job in two_jobs(model, index, name)]
    asked = [job.model_copy(update={"reproducible": True}) for job in mixed[::2]]
    alone, solo = run_in_order(model, asked, together=False)
    company = [job for pair in zip(asked, mixed[1::2], strict=True) for job in pair]
    for jobs in (company, company[::-1]):
        watched, pictures = run_in_order(model, jobs, together=True)
        assert max(len(set(seeds)) for seeds in watched.passes) > 1
        for job in asked:
            assert torch.equal(watched.latents[job.seed], alone.latents[job.seed])
            np.testing.assert_array_equal(pictures[job.seed], solo[job.seed])
