"""
Edits that join generations midway come out as diffusers' own pipelines for them would make them alone.

As `test_exactness`, with image to image and inpainting among the jobs: each image of theirs is compared with a call of
the pipeline for it, with one generator, before the edited picture's own pixels are put back.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
)
from PIL import Image

from jobs.errors import ErrorCode
from jobs.kinds.generate import GenerateSpec
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, Watched, Wrapped, changed, make_adapter, make_engine, run, submit, warm
from tests.unit.workers.engine.test_exactness import (
    FEW,
    NAMES,
    ROUNDING_OF_DOUBLES,
    TOLERANCE,
    assert_close,
    in_precision,
    run_solo,
)
from workers.engine.errors import GenerationFailed
from workers.families.family import PictureFamily
from workers.families.parts.schedulers import make_scheduler
from workers.families.stable_diffusion import StableDiffusion
from workers.families.stable_diffusion_xl import StableDiffusionXL
from workers.runners.edit_work import Edit, Work, edit_of

pytestmark = pytest.mark.filterwarnings(QUIET)

FOR_ALL = ("stable-diffusion", "stable-diffusion-xl", "shapes")
FOR_INPAINTING = ("inpainting", "inpainting-xl")
QUICK = ("stable-diffusion", "inpainting")
FURTHER = (*FOR_ALL[1:], "inpainting")
STRENGTHS = (0.3, 0.55, 0.8, 1.0)

_COLOURS = ("red", "green", "blue", "yellow", "cyan")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedRun:
    """Edits by scheduler, generations beside them, and all latents by seed as the engine made them in one run."""

    edits: dict[str, list[Edit]]
    generations: list[GenerateSpec]
    watched: Watched
    adapter: StableDiffusion


def picture(spec: GenerateSpec, seed: int) -> Any:
    """Smooth, and nowhere the same."""
    y, x = np.mgrid[0 : spec.height, 0 : spec.width] / spec.width
    waves = [np.sin((seed + 2) * x + shift) + np.cos((seed + 3) * y * (shift + 1)) for shift in range(3)]
    return ((np.stack(waves, axis=-1) + 2) * 63).astype(np.uint8)


def mask(spec: GenerateSpec, seed: int) -> Any:
    """A rectangle whose edges are at no multiple of the latents' size."""
    masked = np.zeros((spec.height, spec.width), dtype=bool)
    masked[3 : spec.height // 2 + 2 + seed % 3, spec.width // 3 :] = True
    return masked


def edits_of(adapter: PictureFamily[Any], index: int, name: str, *, only_masked: bool) -> list[Edit]:
    """Image to image and inpainting, with guidance and without; `n` of 2 among them."""
    edits = []
    for at, is_masked in enumerate((True, True) if only_masked else (False, True)):
        spec = tiny.spec(
            adapter.entry,
            prompt=f"a {_COLOURS[(index + at) % 5]} ring",
            negative_prompt="a gray square" if index % 2 else "",
            seed=100 * index + 10 * at + 1,
            scheduler=name,
            num_inference_steps=7 + (index + at) % 4,
            guidance_scale=(1.0, 2.5)[(index + at) % 2],
            n=1 + (index + at) % 2,
        )
        edits.append(
            edit_of(
                spec,
                picture(spec, index),
                mask(spec, index) if is_masked else None,
                strength=STRENGTHS[(index + 2 * at) % len(STRENGTHS)],
            )
        )
    return edits


@cache
def mixed_run(model: str, names: tuple[str, ...] = NAMES, dtype: torch.dtype = torch.float32) -> MixedRun:
    """One more edit joins at each turn, every fourth time with a generation, where the model makes any."""
    adapter = in_precision(make_adapter(model), dtype)
    watched = Watched(adapter)
    only_masked = model in FOR_INPAINTING
    edits = {name: edits_of(adapter, i, name, only_masked=only_masked) for i, name in enumerate(names)}
    jobs: list[Work] = [edit for each in edits.values() for edit in each]
    generations = [] if only_masked else [tiny.spec(adapter.entry, seed=10_000 + n) for n in range(len(names) // 2)]
    for at, job in enumerate(generations):
        jobs.insert(5 * at, job)
    run_joining(watched, jobs)
    return MixedRun(edits=edits, generations=generations, watched=watched, adapter=adapter)


def run_joining(adapter: PictureFamily[Any], jobs: Sequence[Work]) -> list[list[Any]]:
    """Run all, one more joining at each turn; their pictures."""
    engine = make_engine(adapter)
    first = jobs[0]
    run(engine, submit(engine, changed(first, strength=1.0))) if isinstance(first, Edit) else warm(engine, first)
    tickets = []
    for job in jobs:
        tickets.append(submit(engine, job))
        engine.turn()
    run(engine, *tickets)
    return [ticket.result() for ticket in tickets]


def run_alone(adapter: StableDiffusion, edit: Edit, index: int) -> torch.Tensor:
    """What diffusers makes of one image of the edit, without any of our code but the scheduler's name: latents."""
    spec, pipeline = edit.spec, pipeline_for(adapter, is_masked=edit.mask is not None)
    pipeline.scheduler = make_scheduler(spec.scheduler, adapter.pipeline.scheduler)
    masked: dict[str, Any] = {}
    if edit.mask is not None:
        levels = edit.mask.astype(np.uint8) * 255
        masked = {"mask_image": Image.fromarray(levels), "width": spec.width, "height": spec.height}
    return pipeline(
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt or None,
        image=Image.fromarray(edit.image),
        **masked,
        strength=spec.strength,
        num_inference_steps=spec.num_inference_steps,
        guidance_scale=spec.guidance_scale,
        generator=torch.Generator().manual_seed(spec.seed + index),
        output_type="latent",
    ).images


def pipeline_for(adapter: StableDiffusion, *, is_masked: bool) -> Any:
    components = adapter.pipeline.components
    if isinstance(adapter, StableDiffusionXL):
        xl = StableDiffusionXLInpaintPipeline if is_masked else StableDiffusionXLImg2ImgPipeline
        pipeline = xl(**components)
    else:
        plain = StableDiffusionInpaintPipeline if is_masked else StableDiffusionImg2ImgPipeline
        unet = components["unet"]
        if is_masked and unet.config.in_channels == 8:  # It knows of 4 and 9, and does with others as with 4.
            unet = copy.deepcopy(unet)
            unet.register_to_config(in_channels=4)
        pipeline = plain(**components | {"unet": unet}, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def assert_equal(mixed: MixedRun, edit: Edit, tolerance: float = TOLERANCE) -> None:
    made = mixed.watched.latents[edit.spec.seed]
    assert len(made) == edit.spec.n
    for index, each in enumerate(made.split(1)):
        assert_close(each, run_alone(mixed.adapter, edit, index), tolerance)


@pytest.mark.parametrize(
    ("model", "names", "name"),
    [
        *(pytest.param(model, FEW, name, id=f"{model}-few-{name}") for model in QUICK for name in FEW),
        *(
            pytest.param(model, NAMES, name, id=f"{model}-{name}", marks=pytest.mark.long)
            for model in (*FOR_ALL, *FOR_INPAINTING)
            for name in NAMES
        ),
    ],
)
def test_edit_that_joined_midway_equals_diffusers_own_solo_run(model: str, names: tuple[str, ...], name: str) -> None:
    mixed = mixed_run(model, names)
    for edit in mixed.edits[name]:
        assert_equal(mixed, edit)


@pytest.mark.long
@pytest.mark.parametrize("model", ["stable-diffusion", "shapes", "inpainting"])  # SDXL's pipeline encodes in single.
@pytest.mark.parametrize("name", NAMES)
def test_edit_in_double_precision_equals_it_to_ten_digits(model: str, name: str) -> None:
    mixed = mixed_run(model, dtype=torch.float64)
    for edit in mixed.edits[name]:
        assert_equal(mixed, edit, ROUNDING_OF_DOUBLES)


@pytest.mark.parametrize(
    ("model", "names"),
    [("stable-diffusion", FEW), *(pytest.param(each, NAMES, marks=pytest.mark.long) for each in FOR_ALL)],
)
def test_generation_beside_edits_equals_diffusers_own_solo_run(model: str, names: tuple[str, ...]) -> None:
    mixed = mixed_run(model, names)
    for job in mixed.generations:
        assert_close(mixed.watched.latents[job.seed], run_solo(mixed.adapter.pipeline, job))


@pytest.mark.parametrize(
    ("model", "names"),
    [("stable-diffusion", FEW), *(pytest.param(each, NAMES, marks=pytest.mark.long) for each in FOR_ALL)],
)
def test_edits_share_passes_with_generations(model: str, names: tuple[str, ...]) -> None:
    mixed = mixed_run(model, names)
    generations = {job.seed for job in mixed.generations}
    in_company = {seed for seeds in mixed.watched.passes if generations & set(seeds) for seed in seeds} - generations
    assert len(in_company) > len(generations)


# Teeth: each of these faults is one that the comparison must see.


class MaskShifted(Wrapped):
    """By one latent."""

    def encode(self, works: Sequence[Any]) -> list[Any]:
        encoded = super().encode(works)
        return [replace(each, source=replace(each.source, mask=each.source.mask.roll(1, dims=-1))) for each in encoded]


class ScheduleOffByOne(Wrapped):
    def begin(self, work: Any, conditioning: Any) -> Any:
        steps = work.spec.num_inference_steps
        return super().begin(changed(work, strength=(work.spec.passes - 0.5) / steps), conditioning)


class PictureOfTheNeighbour(Wrapped):
    """The first job's stands in all that are encoded together with it."""

    def encode(self, works: Sequence[Any]) -> list[Any]:
        encoded = super().encode(works)
        return [replace(each, source=encoded[0].source) for each in encoded]


class MaskForgotten(Wrapped):
    def encode(self, works: Sequence[Any]) -> list[Any]:
        encoded = super().encode(works)
        everywhere = [torch.ones_like(each.source.mask) for each in encoded]
        return [
            replace(each, source=replace(each.source, mask=mask))
            for each, mask in zip(encoded, everywhere, strict=True)
        ]


@pytest.mark.parametrize("model", [QUICK[0], *(pytest.param(each, marks=pytest.mark.long) for each in FURTHER)])
@pytest.mark.parametrize("fault", [Wrapped, MaskShifted, ScheduleOffByOne, PictureOfTheNeighbour, MaskForgotten])
def test_comparison_sees_a_fault(model: str, fault: type[Wrapped]) -> None:
    adapter = make_adapter(model)
    watched = Watched(fault(adapter))
    first, second = (
        edit_of(spec, picture(spec, spec.seed), mask(spec, spec.seed), strength=0.75)
        for spec in (
            tiny.spec(adapter.entry, seed=seed, scheduler="ddim", num_inference_steps=8, guidance_scale=4.0)
            for seed in (1, 2)
        )
    )
    engine = make_engine(watched)
    run(engine, submit(engine, first), submit(engine, second))
    expected = run_alone(adapter, second, 0)
    if fault is Wrapped:
        assert_close(watched.latents[second.spec.seed], expected)
    else:
        with pytest.raises(AssertionError):
            assert_close(watched.latents[second.spec.seed], expected)


# What becomes of the picture itself.


@pytest.mark.parametrize("model", [*FOR_ALL, "inpainting"])
def test_pixels_outside_of_the_mask_are_those_of_the_picture(model: str) -> None:
    adapter = make_adapter(model)
    spec = tiny.spec(adapter.entry, seed=3, n=2, num_inference_steps=3)
    image, masked = picture(spec, 1), mask(spec, 1)
    (made,) = run_joining(adapter, [edit_of(spec, image, masked, strength=1.0)])
    assert len(made) == 2
    for each in made:
        assert each.dtype == np.uint8
        assert np.array_equal(each[~masked], image[~masked])
        assert not np.array_equal(each[masked], image[masked])


@pytest.mark.parametrize("model", [*FOR_ALL, "inpainting-xl"])
def test_reproducible_edit_has_the_same_bytes_in_any_company(model: str) -> None:
    adapter = make_adapter(model)
    spec = tiny.spec(adapter.entry, seed=5, n=2, num_inference_steps=4, reproducible=True)
    edit = edit_of(spec, picture(spec, 1), mask(spec, 1), strength=0.8)
    others = [changed(edit, seed=seed, n=1, reproducible=False) for seed in (50, 60)]
    (alone,) = run_joining(adapter, [edit])
    _, among, _ = run_joining(adapter, [others[0], edit, others[1]])
    assert all(np.array_equal(one, other) for one, other in zip(alone, among, strict=True))


# What a model is not made for.


@pytest.mark.parametrize("model", FOR_INPAINTING)
def test_model_for_inpainting_asks_for_a_mask(model: str) -> None:
    adapter = make_adapter(model)
    spec = tiny.spec(adapter.entry, seed=1)
    for job in (spec, edit_of(spec, picture(spec, 1), strength=0.5)):
        assert refusal(adapter, job) == f"mask: {model} only repaints a masked part of a picture"


def test_strength_that_runs_no_step_is_refused() -> None:
    adapter = make_adapter("stable-diffusion")
    spec = tiny.spec(adapter.entry, seed=1, num_inference_steps=5)
    edit = edit_of(spec, picture(spec, 1), strength=0.1)
    assert refusal(adapter, edit) == "strength: 0.1 of 5 steps is none"


def refusal(adapter: StableDiffusion, job: Work) -> str:
    engine = make_engine(adapter)
    ticket = submit(engine, job)
    run(engine, ticket)
    with pytest.raises(GenerationFailed) as caught:
        ticket.result()
    assert caught.value.code == ErrorCode.INVALID_REQUEST
    return str(caught.value)
