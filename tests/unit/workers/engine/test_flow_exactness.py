"""
Jobs of flow-matching models that join others midway come out as if they were alone.

One run of the engine for each model has two jobs of every scheduler in it; at each turn one more joins. Steps,
schedulers, shifts, guidance and lengths of texts differ, and for a model that takes them, sizes. Afterwards each job is
compared with what diffusers' own pipeline makes of the same parameters. `test_flow_faults` has what the comparison must
see.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pytest
import torch

from jobs.kinds.generate import GenerateSpec
from tests.further.listed import OLD
from tests.unit.workers import flow
from tests.unit.workers.adapters import QUIET, Watched, make_engine, run, submit
from tests.unit.workers.flow_joining import ANY_SIZE, MODELS, QUICK, TOLERANCE, distance, mixed_jobs, mixed_run
from workers.families.parts.scheduler_names import OWN

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings(OLD)]

SOME = [pytest.param(model, marks=[] if model in QUICK else [pytest.mark.long]) for model in MODELS]
# Enough for a change, beside each model's own.
FEW = dict(zip(MODELS, cycle(name for name in flow.NAMES if name != OWN), strict=False))


@pytest.mark.parametrize(
    ("model", "name"),
    [
        pytest.param(model, name, marks=[] if model in QUICK and name in (OWN, FEW[model]) else [pytest.mark.long])
        for model in MODELS
        for name in flow.names_of(model)
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


@pytest.mark.parametrize(
    "model", [pytest.param(model, marks=[pytest.mark.long] if model in flow.LONG else []) for model in MODELS]
)
def test_picture_is_what_the_pipeline_makes(model: str) -> None:
    adapter = flow.adapter_of(model)
    job = flow.spec_of(model, width=64, height=32, guidance_scale=adapter.entry.traits.guided_above)
    made = adapter.begin(job, adapter.encode([job])[0])
    while made.passes_left:
        made.advance(adapter.predict([made], 8, lambda _step: None)[0])
    [pixels] = adapter.finish(made, 1)
    generator = torch.Generator().manual_seed(job.seed)
    with flow.guided(adapter.pipeline, job) as given:
        expected = adapter.pipeline(generator=[generator], output_type="np", **given).images[0]
    assert np.abs(pixels / 255 - expected).max() <= 1 / 255


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
    mixed = [job for pair in mixed_jobs(model).values() for job in pair]
    asked = [job.model_copy(update={"reproducible": True}) for job in mixed[::2]]
    alone, solo = run_in_order(model, asked, together=False)
    company = [job for pair in zip(asked, mixed[1::2], strict=True) for job in pair]
    for jobs in (company, company[::-1]):
        watched, pictures = run_in_order(model, jobs, together=True)
        assert max(len(set(seeds)) for seeds in watched.passes) > 1
        for job in asked:
            assert torch.equal(watched.latents[job.seed], alone.latents[job.seed])
            np.testing.assert_array_equal(pictures[job.seed], solo[job.seed])
