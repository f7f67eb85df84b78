"""
A job that joins others midway comes out as if it were alone.

One run of the engine for each model has two jobs of every scheduler in it, one with guidance and one without; at each
turn one more joins. Afterwards each is compared with what diffusers' own pipeline makes of the same parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

import pytest
import torch

from jobs.kinds.generate import GenerateSpec
from tests.unit.workers import tiny
from tests.unit.workers.adapters import (
    PIXARTS,
    QUIET,
    Watched,
    Wrapped,
    make_adapter,
    make_engine,
    make_pixart,
    run,
    submit,
    warm,
)
from workers.engine.adapter import OnStep
from workers.families.diffusion.family import DiffusionFamily
from workers.families.diffusion.rows import Rows
from workers.families.family import PictureFamily
from workers.families.parts.scheduler_names import OWN, SCHEDULERS
from workers.families.parts.schedulers import make_scheduler

pytestmark = pytest.mark.filterwarnings(QUIET)

A = TypeVar("A", bound=DiffusionFamily)

PIXART = tuple(PIXARTS)
MODELS = ("stable-diffusion", "stable-diffusion-xl", "shapes", *PIXART)
FURTHER = tuple(each for each in MODELS if each not in ("stable-diffusion", "pixart-sigma"))
NAMES = (OWN, *SCHEDULERS)
# Enough for a change, with one model: one of each sort. The faults below are looked for in all models.
FEW = (OWN, "ddim", "euler_ancestral", "heun", "dpmpp_2m", "dpmpp_2m_sde_karras", "unipc", "lcm")
TOLERANCE = 1e-4  # relative to the largest value
ROUNDING_OF_DOUBLES = 1e-10  # likewise

# The built-in model blows rounding up on some rare ways. Of one of these two jobs, diffusers' own loop gives latents
# 1e-4 apart when nothing but the number of rows in its forward differs; in float64 all is equal, see below.
_BLOWN_UP = pytest.mark.xfail(reason="fp32 rounding, blown up by the built-in model; equal in float64", strict=False)
IN_SINGLE = [
    *(pytest.param("stable-diffusion", FEW, name, id=f"stable-diffusion-few-{name}") for name in FEW),
    *(
        pytest.param(
            *(model, NAMES, name),
            id=f"{model}-{name}",
            marks=[pytest.mark.long, *([_BLOWN_UP] if (model, name) == ("shapes", "ddpm") else [])],
        )
        for name in NAMES
        for model in MODELS
    ),
]

_COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta")
_SHAPES = ("circle", "square", "triangle", "star", "ring")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedRun:
    """Two jobs of each scheduler, and their latents by seed as the engine made them in one run."""

    jobs: dict[str, list[GenerateSpec]]
    watched: Watched
    adapter: DiffusionFamily


def adapter_of(model: str) -> DiffusionFamily:
    return make_pixart(model) if model in PIXART else make_adapter(model)


def in_precision(adapter: A, dtype: torch.dtype) -> A:
    """The same model in another precision; the pipeline of the given one is other tests' too."""
    if dtype == torch.float32:
        return adapter
    return type(adapter)(adapter.entry, copy.deepcopy(adapter.pipeline).to(dtype), adapter.cache)


def two_jobs(adapter: PictureFamily[Any], index: int, name: str) -> list[GenerateSpec]:
    """With guidance and without; no two schedulers have the same prompts, seeds, steps and scales."""
    colour, shape = _COLOURS[index % 6], _SHAPES[index % 5]
    guided = tiny.spec(
        adapter.entry,
        prompt=f"a large {colour} {shape} on a white background",
        negative_prompt="a gray square" if index % 2 else "",
        seed=10 * index,
        scheduler=name,
        num_inference_steps=5 + index % 4,
        guidance_scale=2.5 + index % 3,
    )
    alone = tiny.spec(
        adapter.entry,
        prompt=f"a {shape} at the top, {colour}",
        seed=1000 + 10 * index,
        scheduler=name,
        num_inference_steps=8 - index % 4,
        guidance_scale=1.0,
        n=2,
    )
    return [guided, alone]


def run_joining(adapter: PictureFamily[Any], jobs: Sequence[GenerateSpec]) -> None:
    """Run all, one more joining at each turn."""
    engine = make_engine(adapter)
    warm(engine, jobs[0])
    tickets = []
    for job in jobs:
        tickets.append(submit(engine, job))
        engine.turn()
    run(engine, *tickets)
    for ticket in tickets:
        ticket.result()


@cache
def mixed_run(model: str, names: tuple[str, ...] = NAMES, dtype: torch.dtype = torch.float32) -> MixedRun:
    adapter = in_precision(adapter_of(model), dtype)
    watched = Watched(adapter)
    jobs = {name: two_jobs(adapter, index, name) for index, name in enumerate(names)}
    run_joining(watched, [job for pair in jobs.values() for job in pair])
    return MixedRun(jobs=jobs, watched=watched, adapter=adapter)


def run_solo(pipeline: Any, job: GenerateSpec) -> torch.Tensor:
    """What diffusers makes of the job, without any of our code but the scheduler's name: latents, (n, C, h, w)."""
    own = pipeline.scheduler
    pipeline.scheduler = make_scheduler(job.scheduler, own)
    is_pixart = type(pipeline).__name__.startswith("PixArt")
    options = {"use_resolution_binning": False, "max_sequence_length": 100} if is_pixart else {}
    try:
        return pipeline(
            prompt=job.prompt,
            negative_prompt=job.negative_prompt or ("" if is_pixart else None),
            width=job.width,
            height=job.height,
            num_inference_steps=job.num_inference_steps,
            guidance_scale=job.guidance_scale,
            num_images_per_prompt=job.n,
            generator=[torch.Generator().manual_seed(job.seed + index) for index in range(job.n)],
            output_type="latent",
            **options,
        ).images
    finally:
        pipeline.scheduler = own


def assert_close(made: torch.Tensor, expected: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    assert made.shape == expected.shape
    assert torch.isfinite(expected).all()
    assert ((made - expected).abs().max() / expected.abs().max()).item() <= tolerance


@pytest.mark.parametrize(("model", "names", "name"), IN_SINGLE)
def test_job_that_joined_midway_equals_diffusers_own_solo_run(model: str, names: tuple[str, ...], name: str) -> None:
    mixed = mixed_run(model, names)
    for job in mixed.jobs[name]:
        assert_close(mixed.watched.latents[job.seed], run_solo(mixed.adapter.pipeline, job))


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", NAMES)
def test_in_double_precision_it_equals_it_to_ten_digits(model: str, name: str) -> None:
    mixed = mixed_run(model, dtype=torch.float64)
    for job in mixed.jobs[name]:
        expected = run_solo(mixed.adapter.pipeline, job)
        assert expected.dtype == torch.float64
        assert_close(mixed.watched.latents[job.seed], expected, ROUNDING_OF_DOUBLES)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        pytest.param("stable-diffusion", FEW, id="stable-diffusion-few"),
        *(pytest.param(model, NAMES, id=model, marks=pytest.mark.long) for model in MODELS),
    ],
)
def test_every_job_of_the_mixed_run_shared_passes_with_others(model: str, names: tuple[str, ...]) -> None:
    mixed = mixed_run(model, names)
    seeds = {job.seed for pair in mixed.jobs.values() for job in pair}
    company = {seed: set[int]() for seed in seeds}
    for seeds_of_pass in mixed.watched.passes:
        for seed in set(seeds_of_pass):
            company[seed] |= set(seeds_of_pass) - {seed}
    assert all(company.values())


def test_model_distilled_with_guidance_takes_it_as_an_input() -> None:
    adapter = make_adapter("stable-diffusion")
    own = adapter.pipeline.unet
    try:
        torch.manual_seed(4)
        adapter.pipeline.unet = type(own).from_config(own.config, time_cond_proj_dim=8).eval()
        distilled = type(adapter)(adapter.entry, adapter.pipeline, adapter.cache)
        watched = Watched(distilled)
        jobs = [
            tiny.spec(adapter.entry, prompt=f"a {colour} ring", seed=n, n=n, scheduler="lcm", guidance_scale=n + 2.0)
            for n, colour in enumerate(_COLOURS[:3], start=1)
        ]
        run_joining(watched, jobs)
        for job in jobs:
            assert_close(watched.latents[job.seed], run_solo(adapter.pipeline, job))
    finally:
        adapter.pipeline.unet = own


# Teeth: each of these faults is one that the comparison must see.


class GuidanceOffByOne(Wrapped):
    def begin(self, spec: GenerateSpec, conditioning: Any) -> Any:
        scale = spec.guidance_scale + 1
        return super().begin(spec.model_copy(update={"guidance_scale": scale}), conditioning)


class PromptOfTheNeighbour(Wrapped):
    """The first job's stands in all of those with as many rows that are encoded together with it."""

    def encode(self, specs: Sequence[GenerateSpec]) -> list[Any]:
        return super().encode([spec.model_copy(update={"prompt": specs[0].prompt}) for spec in specs])


class RowsOffByOne(Wrapped):
    def predict(self, batch: Sequence[Any], max_rows: int, on_step: OnStep) -> list[Any]:
        rows = torch.cat(super().predict(batch, max_rows, on_step)).roll(1, dims=0)
        return list(rows.split([each.rows for each in batch]))


@pytest.mark.parametrize(
    "model",
    ["stable-diffusion", "pixart-sigma", *(pytest.param(each, marks=pytest.mark.long) for each in FURTHER)],
)
@pytest.mark.parametrize("fault", [Wrapped, GuidanceOffByOne, PromptOfTheNeighbour, RowsOffByOne])
def test_comparison_sees_a_fault(model: str, fault: type[Wrapped]) -> None:
    adapter = adapter_of(model)
    watched = Watched(fault(adapter))
    first, second = (
        tiny.spec(adapter.entry, prompt=f"a {colour} ring", seed=seed, scheduler="ddim", guidance_scale=4.0)
        for seed, colour in ((1, "red"), (2, "blue"))
    )
    engine = make_engine(watched)
    run(engine, submit(engine, first), submit(engine, second))
    # The wrappers change the specification too, so the latents are found by seed.
    expected = run_solo(adapter.pipeline, second)
    if fault is Wrapped:
        assert_close(watched.latents[second.seed], expected)
    else:
        with pytest.raises(AssertionError):
            assert_close(watched.latents[second.seed], expected)


def mask_left_out(rows: Rows) -> Rows:
    return replace(rows, extra=rows.extra | {"mask": torch.ones_like(rows.extra["mask"])})


def size_of_another_picture(rows: Rows) -> Rows:
    return replace(rows, extra=rows.extra | {"resolution": rows.extra["resolution"] * 2})


@pytest.mark.parametrize(
    ("model", "change"),
    [*((model, mask_left_out) for model in PIXART), ("pixart-alpha", size_of_another_picture)],
)
def test_comparison_sees_what_a_transformer_is_not_told(model: str, change: Callable[[Rows], Rows]) -> None:
    adapter = make_pixart(model)
    forward = adapter._forward
    adapter._forward = lambda rows: forward(change(rows))  # type: ignore[method-assign]
    job = tiny.spec(adapter.entry, prompt="a red ring", scheduler="ddim", guidance_scale=4.0)
    watched = Watched(adapter)
    engine = make_engine(watched)
    run(engine, submit(engine, job))
    with pytest.raises(AssertionError):
        assert_close(watched.latents[job.seed], run_solo(adapter.pipeline, job))
