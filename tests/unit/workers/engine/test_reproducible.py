"""With `reproducible`, a job's images are the same bit for bit whatever runs beside it, wherever its rows stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
import pytest
import torch

from jobs.kinds.generate import GenerateSpec
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, Watched, make_adapter, make_engine, run, submit, warm
from workers.families.parts.scheduler_names import OWN, SCHEDULERS
from workers.runners.postprocess import Pixels

pytestmark = pytest.mark.filterwarnings(QUIET)

MODELS = ("stable-diffusion", "stable-diffusion-xl")
NAMES = (OWN, *SCHEDULERS)
# Enough for a change, with one model: one of each sort.
FEW = (OWN, "ddim", "euler_ancestral", "heun", "dpmpp_2m", "dpmpp_2m_sde_karras", "unipc", "lcm")
RUNS = [
    pytest.param("stable-diffusion", FEW, id="stable-diffusion-few"),
    *(pytest.param(model, NAMES, id=model, marks=pytest.mark.long) for model in MODELS),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """By seed: latents, pictures, and the rows of a pass at which a job has stood."""

    latents: dict[int, torch.Tensor]
    pixels: dict[int, list[Pixels]]
    offsets: dict[int, set[int]]


def reproducible_jobs(model: str, names: Sequence[str]) -> list[GenerateSpec]:
    """One of each scheduler, in its place in `names`: of one, two or three images, most with guidance."""
    entry = make_adapter(model).entry
    return [
        tiny.spec(
            entry,
            prompt=f"a red circle and {index} rings",
            seed=100 * index,
            scheduler=name,
            num_inference_steps=4 + index % 3,
            guidance_scale=(3.0, 1.0, 4.5)[index % 3],
            n=1 + index % 3 if index % 4 else 2,
            reproducible=True,
        )
        for index, name in enumerate(names)
    ]


def neighbours(model: str, first_seed: int) -> list[GenerateSpec]:
    """Ordinary jobs, of other prompts."""
    entry = make_adapter(model).entry
    return [
        tiny.spec(
            entry,
            prompt=f"a yellow star left of {first_seed + index} squares",
            seed=first_seed + index,
            scheduler=name,
            num_inference_steps=3 + index % 5,
            guidance_scale=1.0 + index % 2,
        )
        for index, name in enumerate(("euler", "ddim", "heun", "unipc", "euler_ancestral") * 2)
    ]


def run_in_order(model: str, jobs: Sequence[GenerateSpec], *, together: bool) -> Made:
    """Run jobs in one engine, either one joining at each turn or one after another's end."""
    watched = Watched(make_adapter(model))
    engine = make_engine(watched)
    warm(engine, neighbours(model, 9000)[0])
    tickets = {}
    for job in jobs:
        tickets[job.seed] = submit(engine, job)
        if together:
            engine.turn()
        else:
            run(engine, tickets[job.seed])
    run(engine, *tickets.values())
    pixels = {seed: ticket.result() for seed, ticket in tickets.items()}
    return Made(latents=watched.latents, pixels=pixels, offsets=watched.offsets)


@cache
def alone(model: str, names: tuple[str, ...]) -> Made:
    return run_in_order(model, reproducible_jobs(model, names), together=False)


@cache
def in_company(model: str, names: tuple[str, ...], reverse: bool) -> Made:
    """Between ordinary jobs, which are others in the reversed order."""
    jobs = reproducible_jobs(model, names)
    others = neighbours(model, 5000 if reverse else 7000)
    half = len(jobs) // 2
    mixed = others[:5] + jobs[:half] + others[5:] + jobs[half:]
    return run_in_order(model, mixed[::-1] if reverse else mixed, together=True)


@pytest.mark.parametrize(
    ("model", "names", "name"),
    [
        *(pytest.param("stable-diffusion", FEW, name, id=f"stable-diffusion-few-{name}") for name in FEW),
        *(
            pytest.param(model, NAMES, name, id=f"{model}-{name}", marks=pytest.mark.long)
            for model in MODELS
            for name in NAMES
        ),
    ],
)
def test_reproducible_job_equals_its_own_solo_run_bit_for_bit(model: str, names: tuple[str, ...], name: str) -> None:
    seed = reproducible_jobs(model, names)[names.index(name)].seed
    expected = alone(model, names)
    for reverse in (False, True):
        made = in_company(model, names, reverse)
        assert torch.equal(made.latents[seed], expected.latents[seed])
        for picture, solo in zip(made.pixels[seed], expected.pixels[seed], strict=True):
            np.testing.assert_array_equal(picture, solo)


@pytest.mark.parametrize(("model", "names"), RUNS)
def test_rows_stood_at_many_places_of_a_pass(model: str, names: tuple[str, ...]) -> None:
    jobs = reproducible_jobs(model, names)
    for job in jobs:
        assert alone(model, names).offsets[job.seed] == {0}
    companies = [in_company(model, names, reverse) for reverse in (True, False)]
    stood = [company.offsets[job.seed] for job in jobs for company in companies]
    assert {offset % 4 for offsets in stood for offset in offsets} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "model", ["stable-diffusion", "stable-diffusion-xl", pytest.param("shapes", marks=pytest.mark.long)]
)
def test_prediction_is_the_same_at_every_place_of_a_pass(model: str) -> None:
    adapter = make_adapter(model)
    shapes = ((1, 1.0), (2, 1.0), (1, 4.0), (3, 3.0))  # n and guidance: 1, 2, 2 and 6 rows
    jobs = [
        tiny.spec(adapter.entry, prompt=f"{index} circles", seed=index, n=n, guidance_scale=scale, reproducible=True)
        for index, (n, scale) in enumerate(shapes)
    ]
    runs = [adapter.begin(job, text) for job, text in zip(jobs, adapter.encode(jobs), strict=True)]
    solo = [adapter.predict([each], 16, lambda _step: None)[0] for each in runs]
    for order in permutations(range(len(runs))):
        predictions = adapter.predict([runs[index] for index in order], 16, lambda _step: None)
        for index, prediction in zip(order, predictions, strict=True):
            assert torch.equal(prediction, solo[index])


def test_ordinary_job_beside_a_reproducible_one_is_what_it_is_alone_but_for_rounding() -> None:
    model = "stable-diffusion"
    jobs = neighbours(model, 7000)
    expected = run_in_order(model, jobs, together=False)
    made = in_company(model, FEW, False)
    for job in jobs:
        torch.testing.assert_close(made.latents[job.seed], expected.latents[job.seed], rtol=1e-4, atol=1e-4)
