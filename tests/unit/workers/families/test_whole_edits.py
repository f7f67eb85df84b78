"""A pipeline without a family of its own edits through its own call, or a sibling's, and equals it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, FluxKontextPipeline
from PIL import Image

from jobs.kinds.picture import Stage
from jobs.table.states import Status
from tests import tiny_pipelines
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, Measured, changed, make_engine, run, submit
from workers.attempt.errors import JobLeft
from workers.engine.engine import Engine
from workers.engine.ticket import Ticket
from workers.families.diffusers import WholePipeline
from workers.runners.edit_work import Edit, edit_of
from workers.runners.postprocess import Pixels

pytestmark = pytest.mark.filterwarnings(QUIET)

SIDE = 64
STEPS = 5
DEFAULTS = tiny.model("diffusers").defaults.model_copy(update={"width": SIDE, "height": SIDE})
ENTRY = tiny.model("diffusers", defaults=DEFAULTS)


def flux_kontext() -> FluxKontextPipeline:
    return FluxKontextPipeline(**tiny_pipelines.flux().components)


MAKE: dict[str, Callable[[], Any]] = {
    "sd3": tiny.stable_diffusion_3,
    "flux": tiny_pipelines.flux,
    "kandinsky-3": tiny_pipelines.kandinsky_3,
    "pix2pix": tiny.instruct_pix2pix,
    "kontext": flux_kontext,
    "pixart": tiny_pipelines.pixart,
    "klein": tiny_pipelines.flux_2_klein,
}


@cache
def pipeline(name: str) -> Any:
    return MAKE[name]()


def adapter(name: str) -> WholePipeline:
    return WholePipeline(ENTRY, pipeline(name))


def engine_of(adapted: WholePipeline) -> Engine:
    return make_engine(adapted, capacity=Measured())


def picture(seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> Pixels:
    """Smooth, and nowhere the same."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))


def mask() -> Any:
    masked = np.zeros((SIDE, SIDE), dtype=bool)
    masked[11:43, 21:] = True
    return masked


def an_edit(seed: int, *, is_masked: bool = False, strength: float = 1.0, **fields: Any) -> Edit:
    spec = tiny.spec(ENTRY, seed=seed, **{"num_inference_steps": STEPS} | fields)
    return edit_of(spec, picture(seed), mask() if is_masked else None, strength=strength)


def by_hand(sibling: Any, edit: Edit) -> list[Pixels]:
    """What this pipeline of diffusers makes, called as its documentation has it; with the picture put back."""
    spec = edit.spec
    given: dict[str, Any] = {
        "prompt": spec.prompt,
        "image": [Image.fromarray(each) for each in (edit.image, *edit.references)],
        "num_inference_steps": spec.num_inference_steps,
        "guidance_scale": spec.guidance_scale,
        "output_type": "np",
    }
    if not edit.references:
        (given["image"],) = given["image"]
    if edit.mask is not None:
        given["mask_image"] = Image.fromarray(edit.mask.astype(np.uint8) * 255)
    of_some = {"strength": spec.strength, "width": SIDE, "height": SIDE, "max_area": SIDE * SIDE}
    if edit.mask is not None:
        of_some["_auto_resize"] = False
    takes = inspect.signature(sibling.__call__).parameters
    given |= {name: value for name, value in of_some.items() if name in takes}
    made = [
        sibling(**given, generator=torch.Generator().manual_seed(spec.seed + index)).images[0]
        for index in range(spec.n)
    ]
    return [edit.keep((each * 255).round().astype(np.uint8)) for each in made]


def assert_equal(ticket: Ticket[list[Pixels]], expected: list[Pixels]) -> None:
    made = ticket.result()
    assert len(made) == len(expected)
    for one, other in zip(made, expected, strict=True):
        np.testing.assert_allclose(one.astype(int), other.astype(int), atol=1)


# Names of diffusers' classes, by pipeline, without and with a mask.
SIBLINGS = [
    ("sd3", False, "StableDiffusion3Img2ImgPipeline", 0.6),
    ("sd3", True, "StableDiffusion3InpaintPipeline", 0.6),
    ("flux", False, "FluxImg2ImgPipeline", 0.6),
    ("flux", True, "FluxInpaintPipeline", 1.0),
    ("kandinsky-3", False, "Kandinsky3Img2ImgPipeline", 0.6),
    ("pix2pix", False, "StableDiffusionInstructPix2PixPipeline", 1.0),
    # It looks at pictures of 1024², whatever size they have.
    pytest.param("kontext", False, "FluxKontextPipeline", 1.0, marks=pytest.mark.long),
    ("kontext", True, "FluxKontextInpaintPipeline", 0.6),
]


@pytest.mark.parametrize(("name", "is_masked", "sibling", "strength"), SIBLINGS)
def test_edit_equals_the_pipeline_that_is_called_by_hand(
    name: str, is_masked: bool, sibling: str, strength: float
) -> None:
    adapted = adapter(name)
    engine = engine_of(adapted)
    first = an_edit(10, is_masked=is_masked, strength=strength, n=2)
    second = an_edit(20, is_masked=is_masked, strength=strength, guidance_scale=5.0)
    tickets = [submit(engine, first), submit(engine, second)]
    run(engine, *tickets)
    editor = adapted.editors.of_masked if is_masked else adapted.editors.of_whole
    assert editor is not None
    assert type(editor.pipeline).__name__ == sibling
    for ticket, edit in zip(tickets, (first, second), strict=True):
        assert_equal(ticket, by_hand(editor.pipeline, edit))


def test_generation_beside_edits_is_the_same() -> None:
    engine = engine_of(adapter("sd3"))
    job = tiny.spec(ENTRY, seed=1, num_inference_steps=STEPS)
    alone = submit(engine, job)
    run(engine, alone)
    among = [submit(engine, an_edit(2, strength=0.6)), submit(engine, job), submit(engine, an_edit(3, is_masked=True))]
    run(engine, *among)
    np.testing.assert_array_equal(among[1].result(), alone.result())


@pytest.mark.parametrize("name", ["sd3", "flux", "kontext"])
def test_pixels_outside_of_the_mask_are_those_of_the_picture(name: str) -> None:
    engine = engine_of(adapter(name))
    edit = an_edit(3, is_masked=True, n=2)
    ticket = submit(engine, edit)
    run(engine, ticket)
    for made in ticket.result():
        assert np.array_equal(made[~mask()], edit.image[~mask()])
        assert not np.array_equal(made[mask()], edit.image[mask()])


@pytest.mark.parametrize(
    ("name", "is_masked"),
    [("sd3", False), ("sd3", True), ("flux", False), ("flux", True), ("kandinsky-3", False), ("pix2pix", False)],
)
def test_all_that_an_edit_says_shows(name: str, is_masked: bool) -> None:
    adapted = adapter(name)
    by_strength = adapted.editors.ways()["mask" if is_masked else "image"] == "strength"
    edit = an_edit(4, is_masked=is_masked, strength=0.8 if by_strength else 1.0)
    others = [replace(edit, image=picture(5))]
    if by_strength:
        others.append(changed(edit, strength=0.4))
    if is_masked:
        others.append(replace(edit, mask=~mask()))
    engine = engine_of(adapted)
    tickets = [submit(engine, each) for each in (edit, *others)]
    run(engine, *tickets)
    made, *different = (ticket.result()[0] for ticket in tickets)
    assert all(not np.array_equal(made, each) for each in different)


@pytest.mark.parametrize("name", ["sd3", "flux", "kandinsky-3", "kontext"])
def test_siblings_share_the_components(name: str) -> None:
    adapted = adapter(name)
    loaded = pipeline(name)
    editors = [each for each in (adapted.editors.of_whole, adapted.editors.of_masked) if each is not None]
    assert editors
    for editor in editors:
        for part, component in editor.pipeline.components.items():
            if isinstance(component, torch.nn.Module):
                assert component is loaded.components[part]


def test_siblings_change_no_dtype() -> None:
    loaded: DiffusionPipeline = MAKE["kontext"]().to(dtype=torch.bfloat16)
    adapted = WholePipeline(ENTRY, loaded)
    assert adapted.editors.ways() == {"image": "instruction", "mask": "strength"}
    assert {component.dtype for component in (loaded.transformer, loaded.vae, loaded.text_encoder)} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("sd3", {"image": "strength", "mask": "strength"}),
        ("kandinsky-3", {"image": "strength"}),
        ("pix2pix", {"image": "instruction"}),
        ("kontext", {"image": "instruction", "mask": "strength"}),
        ("klein", {"image": "instruction", "mask": "strength"}),
        ("pixart", {}),
    ],
)
def test_ways_of_editing_are_known_without_a_run(name: str, ways: dict[str, str]) -> None:
    assert adapter(name).editors.ways() == ways


# Several pictures.

FURTHER = [picture(30, (96, 64)), picture(31, (64, 112)), picture(32)]


def test_edit_with_further_pictures_equals_the_pipeline_that_is_called_by_hand() -> None:
    adapted = adapter("klein")
    engine = engine_of(adapted)
    edits = [
        replace(an_edit(10, n=2), references=FURTHER),
        replace(an_edit(20, guidance_scale=5.0), references=FURTHER[:1]),
        an_edit(30),
    ]
    tickets = [submit(engine, each) for each in edits]
    run(engine, *tickets)
    for ticket, edit in zip(tickets, edits, strict=True):
        assert_equal(ticket, by_hand(pipeline("klein"), edit))


def test_each_picture_and_their_order_show() -> None:
    edit = replace(an_edit(10), references=FURTHER)
    first, second, third = FURTHER
    others = [
        replace(edit, references=[second, first, third]),
        replace(edit, references=[first, second]),
        replace(edit, references=[]),
        replace(edit, references=[first, second, picture(33)]),
        replace(edit, image=third, references=[first, second, edit.image]),
    ]
    engine = engine_of(adapter("klein"))
    tickets = [submit(engine, each) for each in (edit, *others)]
    run(engine, *tickets)
    made, *different = (ticket.result()[0] for ticket in tickets)
    assert all(not np.array_equal(made, each) for each in different)


@pytest.mark.parametrize(("name", "most"), [("klein", 15), ("kontext", 0), ("pix2pix", 0), ("sd3", 0), ("pixart", 0)])
def test_how_many_further_pictures_are_taken_is_known_without_a_run(name: str, most: int) -> None:
    assert adapter(name).most_references == most


# On the way.


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_steps_that_run_are_told(name: str) -> None:
    told: list[tuple[int, int]] = []

    def note(stage: str, step: int, steps: int) -> None:
        if stage == Stage.GENERATE:
            told.append((step, steps))

    engine = engine_of(adapter(name))
    ticket = submit(engine, an_edit(1, strength=0.6), note)
    run(engine, ticket)
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3), (3, 3)]


def test_progress_goes_forward_over_several_images() -> None:
    told: list[int] = []
    engine = engine_of(adapter("sd3"))
    ticket = submit(engine, an_edit(1, n=3), lambda _stage, step, _steps: told.append(step))
    run(engine, ticket)
    assert told == sorted(told)
    assert set(told) == set(range(STEPS + 1))


def test_edit_is_interrupted_when_nobody_waits_for_it() -> None:
    ticket: Ticket[list[Pixels]]
    told: list[int] = []

    def cancel(_stage: str, step: int, _steps: int) -> None:
        told.append(step)
        if step == 2:
            ticket.leave(JobLeft(Status.CANCELED))

    engine = engine_of(adapter("sd3"))
    ticket = submit(engine, an_edit(1), cancel)
    run(engine, ticket)
    with pytest.raises(JobLeft):
        ticket.result()
    assert max(told) == 2
    following = submit(engine, an_edit(2))
    run(engine, following)
    assert len(following.result()) == 1
