"""What a model is said to take is what submission takes."""

from __future__ import annotations

from jobs.catalogue.takes import takes_of
from tests.unit.jobs.kinds.test_effects import model


def test_families_differ_in_what_they_take() -> None:
    turbo, qwen, flux = (takes_of(model(family)) for family in ("z-image", "qwen-image", "flux"))
    assert (turbo.guidance, turbo.guided_above, turbo.negative_prompt, turbo.shift) == ("true", 0, True, True)
    assert (qwen.empty_negative_prompt, qwen.side_multiple, qwen.max_prompt_chars) == (" ", 16, 32_000)
    assert (flux.guidance, flux.guided_above, flux.negative_prompt) == ("embedded", None, False)
    assert (flux.empty_negative_prompt, flux.max_prompt_chars) == (None, 4_000)
    assert takes_of(model("flux", guidance="none")).guidance == "none"


def test_most_steps_are_those_of_each_scheduler() -> None:
    names = {"schedulers": ("euler", "lcm")}
    assert takes_of(model("stable-diffusion").model_copy(update=names)).max_steps == {"euler": 100, "lcm": 50}
    assert takes_of(model("flux").model_copy(update=names)).max_steps == {"euler": 100, "lcm": 100}


def test_what_only_a_worker_knows_is_null() -> None:
    takes = takes_of(model("diffusers"))
    assert (takes.guidance, takes.guided_above, takes.negative_prompt, takes.edits) == (None, None, None, None)
    said = takes_of(model("diffusers", guidance="true", negative_prompt=False, edits={"image": "instruction"}))
    assert (said.guidance, said.negative_prompt, said.edits) == ("true", False, {"image": "instruction"})
