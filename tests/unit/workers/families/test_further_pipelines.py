"""Pipelines that have no family of their own: two jobs in one call are what each one's own call makes of it."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from jobs.catalogue.entry import Model
from jobs.kinds.generate import GenerateSpec
from tests.further.listed import OLD, SERVED, Further
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET
from workers.families.diffusers import WholePipeline
from workers.families.parts.scheduler_names import OWN
from workers.families.parts.schedulers import make_scheduler

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings(OLD)]

ROWS = 8
# Of differing lengths, which a call fills up to one.
PROMPTS = ("a ring", "a large blue cross left of a small yellow ring on a gray background")
# What HunyuanImage's guiders have.
GUIDANCE = 3.5
TOLERANCE = 1e-4  # of pixels from 0 to 1
# Of what a prompt changes, at the least: much more than the tolerance.
_SEEN = 10 * TOLERANCE

# What becomes of its negative prompt depends on the neighbours, unless it is called alone. There are others.
_MINDS_COMPANY = "Kandinsky3Pipeline"


def _case(name: str, *marks: pytest.MarkDecorator) -> Any:
    return pytest.param(name, marks=marks)


def _takes_negative(name: str) -> bool:
    return "negative_prompt" in inspect.signature(getattr(diffusers, name).__call__).parameters


# Enough for a change: those that the adapter knows something of.
_FEW = {"CogView4Pipeline", "HunyuanDiTPipeline", "LongCatImagePipeline", "SanaSprintPipeline", "StableUnCLIPPipeline"}
CASES = [_case(name, *([] if name in _FEW else [pytest.mark.long])) for name in sorted(SERVED)]
NEGATED = [
    _case(name, *([] if name == _MINDS_COMPANY else [pytest.mark.long]))
    for name in sorted(SERVED)
    if _takes_negative(name)
]


def entry_of(listed: Further) -> Model:
    sizes = {"width": listed.side, "height": listed.side, "guidance_scale": GUIDANCE}
    defaults = tiny.model("diffusers").defaults.model_copy(update=sizes)
    return tiny.model("diffusers", defaults=defaults)


def call_by_hand(pipeline: Any, listed: Further, job: GenerateSpec) -> Any:
    """What diffusers makes of a job alone, (height, width, 3), 0 to 1."""
    if (scheduler := getattr(pipeline, "scheduler", None)) is not None:
        pipeline.scheduler = make_scheduler(OWN, scheduler)
    given = {
        "prompt": job.prompt,
        "width": job.width,
        "height": job.height,
        "num_inference_steps": job.num_inference_steps,
        "guidance_scale": job.guidance_scale,
        **({"negative_prompt": job.negative_prompt} if job.negative_prompt else {}),
        "generator": torch.Generator().manual_seed(job.seed),
        "output_type": "np",
        **listed.by_hand,
    }
    known = inspect.signature(pipeline.__call__).parameters
    with torch.inference_mode():
        return np.asarray(pipeline(**{name: value for name, value in given.items() if name in known}).images)[0]


def jobs_of(listed: Further, **fields: Any) -> list[GenerateSpec]:
    """Two with prompts of differing lengths."""
    given = {"num_inference_steps": listed.steps, **fields}
    return [tiny.spec(entry_of(listed), prompt=prompt, seed=seed, **given) for seed, prompt in enumerate(PROMPTS)]


def assert_equal_by_hand(pipeline: Any, listed: Further, jobs: list[GenerateSpec]) -> list[Any]:
    """All of them in one pass. Returns what diffusers makes of each alone."""
    adapter = WholePipeline(entry_of(listed), pipeline)
    runs = [adapter.begin(job, None) for job in jobs]
    assert len({run.share_key for run in runs}) == 1
    steps: list[int] = []
    made = adapter.predict(runs, ROWS, steps.append)
    assert steps == sorted(steps)
    assert steps[-1] == jobs[0].num_inference_steps
    alone = [call_by_hand(pipeline, listed, job) for job in jobs]
    for together, expected in zip(made, alone, strict=True):
        np.testing.assert_allclose(together[0], expected, atol=TOLERANCE)
    return alone


@pytest.mark.parametrize("name", CASES)
def test_jobs_of_one_pass_equal_their_own_calls(name: str) -> None:
    listed = SERVED[name]
    pipeline = listed.make()
    assert type(pipeline).__name__ == name
    jobs = jobs_of(listed)
    alone = assert_equal_by_hand(pipeline, listed, jobs)
    with_other_prompt = call_by_hand(pipeline, listed, jobs[0].model_copy(update={"prompt": PROMPTS[1]}))
    assert np.abs(with_other_prompt - alone[0]).max() > _SEEN  # Else a neighbour's prompt would not show.


@pytest.mark.parametrize("name", NEGATED)
def test_jobs_with_negative_prompts_equal_their_own_calls(name: str) -> None:
    listed = SERVED[name]
    pipeline = listed.make()
    negated = [
        job.model_copy(update={"negative_prompt": negative})
        for job, negative in zip(jobs_of(listed), reversed(PROMPTS), strict=True)
    ]
    assert_equal_by_hand(pipeline, listed, negated)


def test_model_made_for_two_steps_runs_any_number() -> None:
    listed = replace(SERVED["SanaSprintPipeline"], steps=3, by_hand={"intermediate_timesteps": None})
    assert_equal_by_hand(listed.make(), listed, jobs_of(listed)[:1])
