"""Schedulers by name, each job with its own."""

from __future__ import annotations

import copy
from typing import Any

import diffusers
import pytest
import torch

from jobs.catalogue.entry import MAX_STEPS_OF_SCHEDULER
from jobs.errors import ErrorCode
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET
from workers.engine.errors import GenerationFailed
from workers.families.diffusers import WholePipeline
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.parts.flow_schedules import FlowSchedulers
from workers.families.parts.scheduler_names import FLOW_SCHEDULERS, OWN, SCHEDULERS, unknown_schedulers
from workers.families.parts.schedulers import SchedulerCache, make_scheduler
from workers.families.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.filterwarnings(QUIET)


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("ddim", diffusers.DDIMScheduler, {}),
        ("euler", diffusers.EulerDiscreteScheduler, {"use_karras_sigmas": False}),
        ("euler_ancestral", diffusers.EulerAncestralDiscreteScheduler, {}),
        ("dpmpp_2m", diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
        ("dpmpp_2m_karras", diffusers.DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
        ("unipc", diffusers.UniPCMultistepScheduler, {}),
        ("heun", diffusers.HeunDiscreteScheduler, {}),
        ("lcm", diffusers.LCMScheduler, {}),
        (OWN, diffusers.PNDMScheduler, {"skip_prk_steps": True}),
    ],
)  # fmt: skip
def test_name_means_the_scheduler_of_the_field(name: str, kind: Any, options: dict[str, object]) -> None:
    made: Any = make_scheduler(name, tiny.stable_diffusion().scheduler)
    assert made.__class__ is kind
    assert {key: made.config[key] for key in options} == options


@pytest.mark.parametrize("name", [OWN, *SCHEDULERS])
def test_every_scheduler_keeps_the_betas_of_the_model(name: str) -> None:
    own = tiny.stable_diffusion().scheduler
    assert torch.equal(make_scheduler(name, own).betas, own.betas)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_number_of_steps_is_refused_where_diffusers_cannot_run_it_and_only_there(name: str) -> None:
    own = diffusers.DDIMScheduler(beta_schedule="scaled_linear")  # As a model's own: none of the others' options set.

    def runs(steps: int) -> bool:
        scheduler: Any = make_scheduler(name, own)
        latents = torch.ones(1, 4, 2, 2)
        try:
            scheduler.set_timesteps(steps, device="cpu")
            for timestep in scheduler.timesteps:
                output = 0.1 * scheduler.scale_model_input(latents, timestep)
                latents = scheduler.step(output, timestep, latents).prev_sample
        except ValueError:
            return False
        return bool(latents.isfinite().all())

    most = MAX_STEPS_OF_SCHEDULER.get(name, 200)
    numbers = (*range(1, 7), 20, 50, 51, 200)
    assert [steps for steps in numbers if runs(steps)] == [steps for steps in numbers if steps <= most]


@pytest.mark.parametrize("shift", [None, 3.0])
@pytest.mark.parametrize("own", [{"shift": 3.0}, {"use_dynamic_shifting": True}], ids=["fixed", "by size"])
@pytest.mark.parametrize("name", [OWN, *FLOW_SCHEDULERS])
def test_flow_matching_schedules_run_any_number_of_steps(name: str, own: dict[str, Any], shift: float | None) -> None:
    schedulers = FlowSchedulers(diffusers.FlowMatchEulerDiscreteScheduler(**own), keeps_flow_sigmas=False)
    for steps in (*range(1, 7), 20, 50, 51, 200):
        scheduler = schedulers.take(name, steps, sigmas=None, mu=0.8, shift=shift)
        latents = torch.ones(1, 4, 2, 2)
        for timestep in scheduler.timesteps:
            latents = scheduler.step(0.1 * latents, timestep, latents, return_dict=False)[0]
        assert latents.isfinite().all()


@pytest.mark.parametrize("family", [StableDiffusion, WholePipeline])
def test_more_steps_than_a_models_own_scheduler_runs_are_refused_by_name(family: Any) -> None:
    pipeline = copy.copy(tiny.stable_diffusion())
    pipeline.scheduler = diffusers.LCMScheduler.from_config(pipeline.scheduler.config, original_inference_steps=40)
    entry = tiny.model("stable-diffusion", schedulers=(OWN, "ddim"))
    adapter = family(entry, pipeline, *([EmbeddingCache(1 << 20)] if family is StableDiffusion else []))

    def begun(steps: int, scheduler: str) -> Any:
        job = tiny.spec(entry, num_inference_steps=steps, scheduler=scheduler)
        return adapter.begin(job, adapter.encode([job])[0])

    with pytest.raises(GenerationFailed) as raised:
        begun(41, OWN)
    says = f"num_inference_steps: {entry.name} runs at most 40 steps with its own scheduler"
    assert (raised.value.code, str(raised.value)) == (ErrorCode.INVALID_REQUEST, says)
    assert begun(40, OWN).steps == 40
    assert begun(41, "ddim").steps == 41


def test_two_jobs_never_share_a_scheduler() -> None:
    shelf = SchedulerCache(tiny.stable_diffusion().scheduler)
    one, two = shelf.take("dpmpp_2m", 5), shelf.take("dpmpp_2m", 5)
    before = [value if value is None else value.clone() for value in two.model_outputs]
    one.step(torch.ones(1, 4, 8, 8), one.timesteps[0], torch.ones(1, 4, 8, 8))
    assert two.model_outputs == before
    assert (one.step_index, two.step_index) == (1, None)
    assert shelf.take("dpmpp_2m", 5).step_index is None


def test_shelf_keeps_a_bounded_number_of_templates() -> None:
    shelf = SchedulerCache(tiny.stable_diffusion().scheduler)
    for steps in range(1, 200):
        assert len(shelf.take("ddim", steps).timesteps) == steps
    assert len(shelf._templates) <= 128


def test_names_that_no_scheduler_has_are_found() -> None:
    assert unknown_schedulers([OWN, "ddim", "dimm", "euler", "k_lms"]) == ["dimm", "k_lms"]
