"""Further arguments of an entry go into a pipeline's own call, where it takes them and no job sets them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from jobs.errors import InvalidConfiguration
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET
from workers.families.diffusers import WholePipeline

pytestmark = pytest.mark.filterwarnings(QUIET)


def picture(call: dict[str, Any]) -> Any:
    adapter = WholePipeline(tiny.model("diffusers", call=call), tiny.stable_diffusion())
    job = tiny.spec(adapter.entry, num_inference_steps=2)
    run = adapter.begin(job, None)
    run.advance(adapter.predict([run], 1, lambda _step: None)[0])
    return run.images


def test_argument_is_given_to_the_call() -> None:
    made, plain = picture({"guidance_rescale": 0.7}), picture({})
    assert (made != plain).any()
    pipeline = tiny.stable_diffusion()
    generator = torch.Generator("cpu").manual_seed(0)
    job = tiny.spec(tiny.model("diffusers"), num_inference_steps=2)
    expected = pipeline(
        job.prompt,
        width=tiny.SIDE,
        height=tiny.SIDE,
        num_inference_steps=2,
        guidance_scale=job.guidance_scale,
        guidance_rescale=0.7,
        generator=[generator],
        output_type="np",
    ).images
    assert abs(made - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("clip_jump", "StableDiffusionPipeline takes no clip_jump: leave it out of call of"),
        ("guidance_scale", "guidance_scale is set by jobs"),
        ("generator", "generator is set by jobs"),
        ("callback_on_step_end", "callback_on_step_end is set by jobs"),
    ],
)
def test_argument_without_effect_is_refused(name: str, reason: str) -> None:
    with pytest.raises(InvalidConfiguration, match=reason):
        picture({name: 1})


def test_family_with_passes_of_its_own_has_no_call() -> None:
    with pytest.raises(ValidationError, match="call: models of family stable-diffusion do not heed it"):
        tiny.model("stable-diffusion", call={"guidance_rescale": 0.7})
