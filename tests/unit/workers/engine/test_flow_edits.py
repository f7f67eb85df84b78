"""
Edits of flow-matching models that join generations midway come out as diffusers' own pipelines would make them alone.

As `test_edits` has it for UNets: image to image and inpainting of every scheduler, strengths, masks, guidance and `n`
mixed, and for a model that takes them, sizes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle
from typing import Any

import numpy as np
import pytest

from jobs.errors import ErrorCode, InvalidConfiguration
from jobs.kinds.generate import GenerateSpec
from tests.further.listed import OLD
from tests.unit.workers import flow
from tests.unit.workers.adapters import QUIET, Watched, Wrapped, changed, make_engine, run, submit
from tests.unit.workers.engine.test_edits import MaskForgotten, MaskShifted, PictureOfTheNeighbour, mask, picture
from tests.unit.workers.flow_joining import ANY_SIZE, TOLERANCE, distance
from workers.engine.errors import GenerationFailed
from workers.families.flow.family import FlowFamily
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.parts.scheduler_names import OWN
from workers.families.registry import family_of
from workers.runners.edit_work import Edit, Work, edit_of, spec_of

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings(OLD)]

MODELS = ("stable-diffusion-3", "flux-dev", "flux-schnell", "qwen-image", "z-image")
OF_WHOLE = ("chroma",)  # repaint no masked part
STRENGTHS = (0.3, 0.55, 0.8, 1.0)
# Enough for a change, beside each model's own.
FEW = {
    model: (OWN, name) for model, name in zip(MODELS, cycle(name for name in flow.NAMES if name != OWN), strict=False)
}
RUNS = [
    *(pytest.param(model, FEW[model], id=f"{model}-few") for model in MODELS),
    *(pytest.param(model, flow.NAMES, id=model, marks=pytest.mark.long) for model in (*MODELS, *OF_WHOLE)),
]

_COLOURS = ("red", "green", "blue", "yellow", "cyan")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedRun:
    """Edits by scheduler, generations beside them, and all latents by seed as the engine made them in one run."""

    edits: dict[str, list[Edit]]
    generations: list[GenerateSpec]
    watched: Watched
    adapter: FlowFamily


def edits_of(model: str, index: int, name: str) -> list[Edit]:
    """Image to image and inpainting, with the model's guidance and without; `n` of 2 and shifts among them."""
    entry = flow.entry_of(model)
    edits = []
    for at, is_masked in enumerate((False, model not in OF_WHOLE)):
        is_guided = (index + at) % 2 == 0
        spec = flow.spec_of(
            model,
            prompt=f"a {_COLOURS[(index + at) % 5]} ring" + " and a square" * (index % 3),
            negative_prompt="gray, blurred" if entry.traits.negative_prompt and is_guided and index % 3 else "",
            seed=100 * index + 10 * at + 1,
            scheduler=name,
            num_inference_steps=4 + (index + at) % 3,
            guidance_scale=2.5 + at if is_guided else entry.traits.guided_above,
            shift=2.0 + index if (index + at) % 3 == 1 else None,
            n=1 + (index + at) % 2,
            width=64 if model == ANY_SIZE and index % 2 else 32,
        )
        strength = STRENGTHS[(index + 2 * at) % len(STRENGTHS)]
        edits.append(edit_of(spec, picture(spec, index), mask(spec, index) if is_masked else None, strength=strength))
    return edits


@cache
def mixed_run(model: str, names: tuple[str, ...]) -> MixedRun:
    """One more edit joins at each turn, every other time with a generation."""
    adapter = flow.adapter_of(model)
    watched = Watched(adapter)
    edits = {name: edits_of(model, index, name) for index, name in enumerate(names)}
    jobs: list[Work] = [edit for pair in edits.values() for edit in pair]
    generations = [flow.spec_of(model, seed=10_000 + n, num_inference_steps=5, n=1 + n % 2) for n in range(len(names))]
    for at, job in enumerate(generations):
        jobs.insert(3 * at, job)
    run_joining(watched, jobs)
    return MixedRun(edits=edits, generations=generations, watched=watched, adapter=adapter)


def run_joining(watched: Watched, jobs: Sequence[Work]) -> list[list[Any]]:
    """Run all, one more joining at each turn; their pictures."""
    engine = make_engine(watched)
    sizes = {(spec.width, spec.height): spec for spec in map(spec_of, jobs)}
    for spec in sizes.values():  # Its pass is measured.
        generated = flow.spec_of(spec.model, width=spec.width, height=spec.height, num_inference_steps=1)
        run(engine, submit(engine, generated))
    watched.passes.clear()
    tickets = []
    for job in jobs:
        tickets.append(submit(engine, job))
        engine.turn()
    run(engine, *tickets)
    return [ticket.result() for ticket in tickets]


@pytest.mark.parametrize(("model", "names"), RUNS)
def test_edits_that_joined_midway_equal_diffusers_own_solo_runs(model: str, names: tuple[str, ...]) -> None:
    mixed = mixed_run(model, names)
    for edit in (edit for pair in mixed.edits.values() for edit in pair):
        made = mixed.watched.latents[edit.spec.seed]
        away = distance(made, flow.run_edit_solo(mixed.adapter.pipeline, edit))
        assert away <= TOLERANCE, (edit.spec.scheduler, edit.mask is not None, edit.spec.strength)


@pytest.mark.parametrize(("model", "names"), RUNS)
def test_generations_beside_edits_equal_diffusers_own_solo_runs(model: str, names: tuple[str, ...]) -> None:
    mixed = mixed_run(model, names)
    for job in mixed.generations:
        assert distance(mixed.watched.latents[job.seed], flow.run_solo(mixed.adapter.pipeline, job)) <= TOLERANCE


@pytest.mark.parametrize(("model", "names"), RUNS)
def test_every_edit_shared_passes_with_other_jobs(model: str, names: tuple[str, ...]) -> None:
    mixed = mixed_run(model, names)
    generations = {job.seed for job in mixed.generations}
    for edit in (edit for pair in mixed.edits.values() for edit in pair):
        company = {seed for seeds in mixed.watched.passes if edit.spec.seed in seeds for seed in seeds}
        assert company - {edit.spec.seed}
    assert any(generations & set(seeds) and set(seeds) - generations for seeds in mixed.watched.passes)


@pytest.mark.parametrize(
    ("model", "is_masked"),
    # Stable Diffusion 3's pipeline for inpainting decodes without the shift of latents, in diffusers 0.42.1.
    [(model, masked) for model in MODELS for masked in (False, True) if (model, masked) != (MODELS[0], True)],
)
def test_picture_is_what_the_pipeline_makes(model: str, is_masked: bool) -> None:
    adapter = flow.adapter_of(model)
    job = flow.spec_of(model, width=64, height=32, guidance_scale=adapter.entry.traits.guided_above)
    edit = edit_of(job, picture(job, 1), mask(job, 1) if is_masked else None, strength=0.6)
    made = adapter.begin(edit, adapter.encode([edit])[0])
    while made.passes_left:
        made.advance(adapter.predict([made], 8, lambda _step: None)[0])
    [pixels] = adapter.finish(made, 1)
    [expected] = flow.pictures_of_edit(adapter.pipeline, edit)
    inside = np.ones(expected.shape[:2], dtype=bool) if edit.mask is None else edit.mask
    assert np.abs(pixels[inside] / 255 - expected[inside]).max() <= 1 / 255
    assert np.array_equal(pixels[~inside], edit.image[~inside])


# Teeth: each of these faults is one that the comparison must see.


class BeginsOneStepLate(Wrapped):
    def begin(self, work: Any, conditioning: Any) -> Any:
        spec = work.spec
        return super().begin(changed(work, strength=(spec.flow_passes - 1) / spec.num_inference_steps), conditioning)


class NoNoiseOutsideOfTheMask(Wrapped):
    """What is kept of the picture has no noise while the rest of it has."""

    def begin(self, work: Any, conditioning: Any) -> Any:
        made = super().begin(work, conditioning)
        made._noised = lambda original: original
        return made


class NoiseOfTheStepBefore(Wrapped):
    """What is kept has the noise that the step began with."""

    def begin(self, work: Any, conditioning: Any) -> Any:
        made = super().begin(work, conditioning)
        noised = made._noised

        def faulty(original: Any) -> Any:
            made._calls -= 1
            try:
                return noised(original)
            finally:
                made._calls += 1

        made._noised = faulty
        return made


FAULTS = (
    MaskShifted,
    MaskForgotten,
    PictureOfTheNeighbour,
    BeginsOneStepLate,
    NoNoiseOutsideOfTheMask,
    NoiseOfTheStepBefore,
)


@pytest.mark.parametrize(
    "model", [pytest.param(each, marks=[] if each == ANY_SIZE else pytest.mark.long) for each in MODELS]
)
@pytest.mark.parametrize("fault", [Wrapped, *FAULTS])
def test_comparison_sees_a_fault(model: str, fault: Callable[[Any], Wrapped]) -> None:
    adapter = flow.adapter_of(model)
    watched = Watched(fault(adapter))
    first, second = (
        edit_of(spec, picture(spec, spec.seed), mask(spec, spec.seed), strength=0.75)
        for spec in (flow.spec_of(model, seed=seed, num_inference_steps=6) for seed in (1, 2))
    )
    engine = make_engine(watched)
    run(engine, submit(engine, first), submit(engine, second))
    away = distance(watched.latents[second.spec.seed], flow.run_edit_solo(adapter.pipeline, second))
    assert (away > TOLERANCE) is (fault is not Wrapped)


# As of any job.


@pytest.mark.parametrize("model", [ANY_SIZE, *(pytest.param(each, marks=pytest.mark.long) for each in MODELS[:-1])])
def test_reproducible_edit_has_the_same_bytes_in_any_company(model: str) -> None:
    adapter = flow.adapter_of(model)
    spec = flow.spec_of(model, seed=5, n=2, num_inference_steps=4, reproducible=True)
    edit = edit_of(spec, picture(spec, 1), mask(spec, 1), strength=0.8)
    others = [changed(edit, seed=seed, n=1, reproducible=False) for seed in (50, 60)]
    (alone,) = run_joining(Watched(adapter), [edit])
    _, among, _ = run_joining(Watched(adapter), [others[0], edit, others[1]])
    assert all(np.array_equal(one, other) for one, other in zip(alone, among, strict=True))


@pytest.mark.parametrize(
    ("fields", "passes"), [({"strength": 0.1}, 1), ({"strength": 0.55}, 3), ({"strength": 0.6}, 3), ({}, 5)]
)
def test_steps_that_are_left_out_are_rounded_down(fields: dict[str, Any], passes: int) -> None:
    """Those that run are rounded up, then; other pipelines of diffusers round these down."""
    adapter = flow.adapter_of(ANY_SIZE)
    spec = flow.spec_of(ANY_SIZE, num_inference_steps=5)
    edit = edit_of(spec, picture(spec, 1), **{"strength": 1.0} | fields)
    made = adapter.begin(edit, adapter.encode([edit])[0])
    assert (made.steps, made.passes_left) == (passes, passes)


def test_edit_by_a_second_order_scheduler_counts_steps_and_not_passes() -> None:
    adapter = flow.adapter_of(ANY_SIZE)
    spec = flow.spec_of(ANY_SIZE, num_inference_steps=6, scheduler="heun")
    edit = edit_of(spec, picture(spec, 1), strength=0.5)
    made = adapter.begin(edit, adapter.encode([edit])[0])
    steps = [made.step]
    while made.passes_left:
        made.advance(adapter.predict([made], 8, lambda _step: None)[0])
        steps.append(made.step)
    assert made.steps == 3
    assert steps == [0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize("model", MODELS)
def test_further_pictures_are_refused_by_a_model_that_begins_at_one(model: str) -> None:
    adapter = flow.adapter_of(model)
    spec = flow.spec_of(model)
    edit = replace(edit_of(spec, picture(spec, 1), strength=0.5), references=[picture(spec, 2)])
    with pytest.raises(
        GenerationFailed, match=rf"^references: the model {model} edits one picture at a time"
    ) as raised:
        adapter.begin(edit, adapter.encode([edit])[0])
    assert raised.value.code is ErrorCode.INVALID_REQUEST


def test_edit_is_stepped_where_texts_are_encoded_elsewhere() -> None:
    assert flow.adapter_of(ANY_SIZE, text_device="cpu").ways_to_edit == {"image": "strength", "mask": "strength"}


def test_half_precision_is_near_the_pipelines_own() -> None:
    adapter = flow.in_half_precision(ANY_SIZE)
    spec = flow.spec_of(ANY_SIZE, num_inference_steps=3)
    for masked in (None, mask(spec, 1)):
        edit = edit_of(spec, picture(spec, 1), masked, strength=0.7)
        made: Any = adapter.begin(edit, adapter.encode([edit])[0])
        while made.passes_left:
            made.advance(adapter.predict([made], 8, lambda _step: None)[0])
        expected = flow.run_edit_solo(adapter.pipeline, edit)
        assert made.latents.dtype == expected.dtype
        assert distance(made.latents, expected) <= 0.1


@pytest.mark.parametrize(("model", "channels"), [("flux-dev", 48), ("stable-diffusion-3", 33)])
def test_model_that_was_made_for_inpainting_is_refused_at_load(model: str, channels: int) -> None:
    """As FLUX.1 Fill: beside its own latents it takes a mask, and those of the masked picture."""
    pipeline = copy.copy(flow.pipeline_of(model))
    pipeline.transformer = copy.deepcopy(pipeline.transformer)
    pipeline.transformer.register_to_config(in_channels=channels)
    entry = flow.entry_of(model)
    with pytest.raises(InvalidConfiguration, match=rf'takes {channels} channels, .*set family = "diffusers"'):
        family_of(entry).adapt(entry, pipeline, EmbeddingCache(1 << 20))
