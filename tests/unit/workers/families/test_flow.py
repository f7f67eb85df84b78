"""What families of flow-matching transformers have in common, beside what they compute."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from jobs.errors import ErrorCode, InvalidConfiguration
from tests.further.listed import OLD
from tests.unit.workers import flow
from tests.unit.workers.adapters import QUIET
from workers.engine.errors import GenerationFailed
from workers.families.flow.family import FlowFamily
from workers.families.flow.run import FlowRun
from workers.families.flow.texts import by_length
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.parts.flow_schedules import FlowSchedulers
from workers.families.parts.scheduler_names import OWN
from workers.families.registry import family_of
from workers.loading.checks.guidance import check_guidance
from workers.runners.edit_work import edit_of

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings(OLD)]

MODELS = tuple(flow.PIPELINES)
SOME = [pytest.param(model, marks=[pytest.mark.long] if model in flow.LONG else []) for model in MODELS]


def begun(adapter: FlowFamily, **fields: Any) -> Any:
    job = flow.spec_of(adapter.name, **fields)
    return adapter.begin(job, adapter.encode([job])[0])


@pytest.mark.parametrize("model", SOME)
def test_entry_that_offers_a_scheduler_of_others_is_refused_at_load(model: str) -> None:
    reason = "its steps are of its own" if model == "sana-sprint" else "flow-matching models have"
    with pytest.raises(InvalidConfiguration, match=rf"'ddim' \({reason} .*\[models.{model}\]"):
        flow.adapter_of(model, schedulers=(OWN, "ddim"))


def test_scheduler_that_cannot_run_is_found_by_running_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no such step")

    monkeypatch.setattr("diffusers.UniPCMultistepScheduler.step", fails)
    with pytest.raises(InvalidConfiguration, match=r"cannot run scheduler 'unipc' \(no such step\): take it out"):
        flow.adapter_of("z-image")
    flow.adapter_of("z-image", schedulers=(OWN, "euler"))


@pytest.mark.parametrize(
    ("model", "says"), [("flux-schnell", "embedded"), ("flux2-klein-distilled", "true"), ("flux2-klein", "none")]
)
def test_entry_has_to_say_of_which_sort_its_model_is(model: str, says: str) -> None:
    right = flow.entry_of(model).how_guided
    check_guidance(flow.adapter_of(model))
    with pytest.raises(InvalidConfiguration, match=rf'set guidance = "{right}" of \[models.{model}\]'):
        check_guidance(flow.adapter_of(model, guidance=says))


@pytest.mark.parametrize("model", SOME)
def test_text_that_is_cut_is_noted_by_its_field_and_no_other(model: str) -> None:
    adapter = flow.adapter_of(model)
    most = flow.max_tokens(model)
    assert begun(adapter).warnings == ()
    assert begun(adapter, prompt="a b " * most).warnings == (f"prompt: cut to {most} tokens, which {model} takes",)
    if adapter.entry.takes_negative_prompt:
        cut = begun(adapter, negative_prompt="a b " * most).warnings
        assert cut == (f"negative_prompt: cut to {most} tokens, which {model} takes",)


@pytest.mark.parametrize("model", SOME)
def test_model_is_given_as_many_tokens_as_its_entry_says(model: str) -> None:
    """The same words are cut at another place, so something else is drawn."""
    words = "a red circle and then a blue square, " * 20
    short, longer = (
        begun(flow.adapter_of(model, max_sequence_length=length), prompt=words)._conditioning.prompt[0].shape[0]
        for length in (32, 64)
    )
    assert longer - short == 32


@pytest.mark.parametrize(("model", "most"), [("stable-diffusion-3", 512), ("flux-dev", 512), ("qwen-image", 1024)])
def test_more_tokens_than_its_pipelines_take_are_refused_at_load(model: str, most: int) -> None:
    """A generation would run, and each edit would fail."""
    flow.adapter_of(model, max_sequence_length=most)
    with pytest.raises(InvalidConfiguration, match=f"max_sequence_length of .* is {most + 1}, .* take {most} at most"):
        flow.adapter_of(model, max_sequence_length=most + 1)


@pytest.mark.parametrize("model", SOME)
def test_text_is_encoded_once_and_equal_in_any_company(model: str) -> None:
    adapter = flow.adapter_of(model)
    words = ("a ring", "a ring beside a small square and a very large circle on a blue background", "a star")
    alone = [flow.adapter_of(model).condition([flow.spec_of(model, prompt=text)])[0] for text in words]
    together = adapter.condition([flow.spec_of(model, prompt=text) for text in (*words, *words)])
    for one, other in zip((*alone, *alone), together, strict=True):
        for expected, made in zip(one.tensors(), other.tensors(), strict=True):
            torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
    texts = len(words) + (1 if together[0].negative else 0)
    assert adapter.cache.counts.misses == texts


@pytest.mark.parametrize(
    "model", [pytest.param(model, marks=[] if model == "z-image" else [pytest.mark.long]) for model in MODELS]
)
def test_texts_may_be_encoded_on_the_processor_where_the_model_is_elsewhere(model: str) -> None:
    entry, own = flow.entry_of(model, text_device="cpu"), flow.pipeline_of(model)
    pipeline = copy.deepcopy(own)
    pipeline.to("meta")  # As good as any device that is not the processor: what is not moved back has no memory.
    encoders = [name for name, part in pipeline.components.items() if name.startswith("text_encoder") and part]
    for name in encoders:
        setattr(pipeline, name, copy.deepcopy(getattr(own, name)))
    adapter = family_of(entry).adapt(entry, pipeline, EmbeddingCache(1 << 20))
    assert isinstance(adapter, FlowFamily)
    encoded = adapter.condition([flow.spec_of(model)])[0]
    assert {getattr(pipeline, name).device.type for name in encoders} == {"cpu"}
    assert {tensor.device.type for tensor in encoded.tensors()} == {"meta"}


@pytest.mark.parametrize("scheduler", ["default", "euler", "lcm", "unipc"])
def test_edit_by_instruction_runs_with_what_edits_by_strength_cannot(scheduler: str) -> None:
    adapter = flow.adapter_of("flux2-klein")
    fields = {"scheduler": scheduler, "num_inference_steps": 2, "width": 64, "height": 64}
    gray = np.full((64, 64, 3), 128, dtype=np.uint8)  # No less is taken.
    edit = edit_of(flow.spec_of("flux2-klein", **fields), gray, strength=1.0)
    made = adapter.begin(edit, adapter.encode([edit])[0])
    made.advance(adapter.predict([made], 1, lambda _step: None)[0])
    assert len(adapter.finish(made, 1)) == 1


@pytest.mark.parametrize("model", SOME)
def test_submission_knows_how_a_family_edits(model: str) -> None:
    adapter = flow.adapter_of(model)
    assert adapter.entry.ways_to_edit == adapter.ways_to_edit


@pytest.mark.parametrize("model", SOME)
def test_schedule_is_the_pipelines_own_to_the_last_bit(model: str) -> None:
    """In half precision a last bit is soon a hundredth."""
    adapter = flow.adapter_of(model)
    job = flow.spec_of(model, num_inference_steps=7, width=64, height=flow.side_of(model))
    pipeline = copy.copy(adapter.pipeline)
    pipeline.scheduler = copy.deepcopy(adapter.pipeline.scheduler)
    with flow.guided(pipeline, job) as given:
        pipeline(generator=[torch.Generator()], output_type="latent", **given)
    made = adapter._schedule(job)
    expected = pipeline.scheduler.timesteps
    # Sana Sprint's has a last one, at which it does not call the model, and no noise levels.
    assert torch.equal(made.timesteps, expected[:-1] if model == "sana-sprint" else expected)
    assert model == "sana-sprint" or torch.equal(made.sigmas, pipeline.scheduler.sigmas)


def test_schedule_stays_the_models_own_after_calls_with_another_scheduler() -> None:
    """As of Stable Diffusion 3 with a shift by the size: a line through points that UniPC's configuration has not."""
    pipeline = copy.copy(flow.pipeline_of("stable-diffusion-3"))
    by_size = {"use_dynamic_shifting": True, "base_shift": 0.7, "max_shift": 2.0}
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(**by_size)
    entry = flow.entry_of("stable-diffusion-3")
    adapter: Any = family_of(entry).adapt(entry, pipeline, EmbeddingCache(1 << 20))
    expected = adapter._schedule(flow.spec_of(entry.name)).timesteps
    pipeline.scheduler = UniPCMultistepScheduler()
    adapter._schedulers = FlowSchedulers(adapter._own_scheduler, keeps_flow_sigmas=False)
    assert torch.equal(adapter._schedule(flow.spec_of(entry.name)).timesteps, expected)  # None was kept.


@pytest.mark.parametrize("model", SOME)
def test_jobs_in_half_precision_are_near_the_pipelines_own(model: str) -> None:
    adapter = flow.in_half_precision(model)
    jobs = [flow.spec_of(model, seed=n, prompt="a ring " * (1 + 3 * n), num_inference_steps=3) for n in range(2)]
    runs = [adapter.begin(job, text) for job, text in zip(jobs, adapter.encode(jobs), strict=True)]
    while runs[0].passes_left:
        for run_, predicted in zip(runs, adapter.predict(runs, 8, lambda _step: None), strict=True):
            run_.advance(predicted)
    for job, run_ in zip(jobs, runs, strict=True):
        assert isinstance(run_, FlowRun)
        assert len(adapter.finish(run_, 1)) == 1
        expected = flow.run_solo(adapter.pipeline, job)
        assert run_.latents.dtype == expected.dtype
        assert (run_.latents - expected).abs().max() <= 0.1 * expected.abs().max()


def test_texts_of_about_one_length_are_together_and_filled_up_a_little() -> None:
    groups = by_length([3, 32, 33, 60, 250, 300, 380, 0], lambda length: length)
    assert groups == {32: [3, 32, 0], 64: [33, 60], 256: [250], 384: [300, 380]}


@pytest.mark.parametrize("model", SOME)
def test_latents_that_are_not_finite_fail_their_job(model: str) -> None:
    adapter = flow.adapter_of(model)
    job = begun(adapter)
    job.latents = job.latents * torch.nan
    with pytest.raises(GenerationFailed) as raised:
        adapter.finish(job, 1)
    assert raised.value.code is ErrorCode.INVALID_OUTPUT
