"""
Edits by instruction share passes, and come out as diffusers' own pipelines would make them alone.

The pictures that they look at are tokens of their rows, and rows of as many share passes. In the same run are
generations, of models that make any, and repainted pictures of those that do that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from jobs.errors import ErrorCode
from jobs.kinds.generate import GenerateSpec
from tests.unit.workers import flow
from tests.unit.workers.adapters import QUIET, Measured, Watched, changed, make_engine, run, submit
from tests.unit.workers.engine.test_edits import mask, picture
from tests.unit.workers.flow_joining import TOLERANCE, distance
from workers.engine.errors import GenerationFailed
from workers.families.flow.family import FlowFamily
from workers.families.flow.rows import FlowRow
from workers.runners.edit_work import Edit, Work, edit_of

pytestmark = pytest.mark.filterwarnings(QUIET)

KONTEXT, EDIT, PLUS = "flux-kontext", "qwen-image-edit", "qwen-image-edit-plus"
FLUX2 = ("flux2-dev", "flux2-klein", "flux2-klein-distilled")
MODELS = (*FLUX2, KONTEXT, EDIT, PLUS)
SEVERAL = (*FLUX2, PLUS)  # take further pictures
MASKED = ("flux2-klein", "flux2-klein-distilled", KONTEXT)
GENERATING = (*FLUX2, KONTEXT)
QUICK = ("flux2-klein", KONTEXT)
SOME = [pytest.param(model, marks=[] if model in QUICK else [pytest.mark.long]) for model in MODELS]

WIDTH, HEIGHT = 96, 64
FURTHER = ((64, 80), (128, 72))  # one of them is cropped, for its sides are no multiples


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedRun:
    """Jobs of all sorts, and their latents by seed as the engine made them in one run."""

    instructed: list[Edit]
    masked: list[Edit]
    generations: list[GenerateSpec]
    watched: Watched
    adapter: FlowFamily


def spec(model: str, seed: int, **fields: Any) -> GenerateSpec:
    given = {"seed": seed, "width": WIDTH, "height": HEIGHT, "prompt": f"{seed} rings", "num_inference_steps": 2}
    return flow.spec_of(model, **given | fields)


def instructed(model: str, seed: int, further: int = 0, **fields: Any) -> Edit:
    """An edit that looks at its picture, and at further ones."""
    made = spec(model, seed, **fields)
    sizes = [flow.spec_of(model, width=width, height=height) for width, height in FURTHER[:further]]
    references = [picture(size, seed + at) for at, size in enumerate(sizes, start=1)]
    return replace(edit_of(made, picture(made, seed), strength=1.0), references=references)


def repainted(model: str, seed: int, **fields: Any) -> Edit:
    made = spec(model, seed, **fields)
    return edit_of(made, picture(made, seed), mask(made, seed), strength=0.6)


@cache
def mixed_run(model: str) -> MixedRun:
    """One more joins at each turn; schedulers, steps, guidance, `n` and shifts differ."""
    adapter = flow.adapter_of(model)
    watched = Watched(adapter)
    off = adapter.entry.traits.guided_above
    edits = [
        instructed(model, 1, num_inference_steps=3, n=2),
        instructed(model, 2, scheduler="heun", guidance_scale=5.0),
        instructed(model, 3, guidance_scale=off, shift=2.0, num_inference_steps=3),
        instructed(model, 4, scheduler="dpmpp_2m", num_inference_steps=4),
    ]
    if model in SEVERAL:
        edits += [instructed(model, 5, 2), instructed(model, 6, 2, scheduler="unipc", num_inference_steps=3)]
    masked = []
    if model in MASKED:
        masked = [repainted(model, 7, num_inference_steps=4), repainted(model, 8, scheduler="lcm", n=2)]
    generations = [spec(model, 9, num_inference_steps=4), spec(model, 10)] if model in GENERATING else []
    jobs: list[Work] = [*edits[:2], *generations[:1], *masked, *edits[2:], *generations[1:]]
    run_joining(watched, jobs)
    return MixedRun(instructed=edits, masked=masked, generations=generations, watched=watched, adapter=adapter)


def run_joining(watched: Watched, jobs: Sequence[Work]) -> list[list[Any]]:
    engine = make_engine(watched, capacity=Measured())
    tickets = []
    for job in jobs:
        tickets.append(submit(engine, job))
        engine.turn()
    run(engine, *tickets)
    return [ticket.result() for ticket in tickets]


@pytest.mark.parametrize("model", SOME)
def test_edits_by_instruction_equal_diffusers_own_solo_runs(model: str) -> None:
    mixed = mixed_run(model)
    for edit in mixed.instructed:
        expected = flow.run_instructed_solo(mixed.adapter.pipeline, edit)
        assert distance(mixed.watched.latents[edit.spec.seed], expected) <= TOLERANCE, edit.spec


@pytest.mark.parametrize("model", SOME)
def test_what_runs_beside_them_equals_diffusers_own_solo_runs(model: str) -> None:
    mixed = mixed_run(model)
    for job in mixed.generations:
        assert distance(mixed.watched.latents[job.seed], flow.run_solo(mixed.adapter.pipeline, job)) <= TOLERANCE
    for edit in mixed.masked:
        options = {"_auto_resize": False} if model == KONTEXT else {}
        expected = flow.run_edit_solo(mixed.adapter.pipeline, edit, **options)
        assert distance(mixed.watched.latents[edit.spec.seed], expected) <= TOLERANCE, edit.spec


@pytest.mark.parametrize("model", SOME)
def test_edits_that_look_at_as_much_share_passes(model: str) -> None:
    mixed = mixed_run(model)
    further = {edit.spec.seed: len(edit.references) for edit in mixed.instructed}
    shared = [[further[seed] for seed in seeds if seed in further] for seeds in mixed.watched.passes]
    assert any(numbers.count(0) > 1 for numbers in shared)
    assert any(numbers.count(2) > 1 for numbers in shared) is (model in SEVERAL)
    assert all(len(set(numbers)) < 2 for numbers in shared)
    generations = {job.seed for job in mixed.generations}
    assert not any(generations & set(seeds) and set(seeds) - generations for seeds in mixed.watched.passes)


# Teeth: each of these faults is one that the comparison must see.

Fault = Callable[[Sequence[FlowRow]], list[FlowRow]]


def references_of_the_neighbour(rows: Sequence[FlowRow]) -> list[FlowRow]:
    return [replace(row, references=rows[at - 1].references) for at, row in enumerate(rows)]


def rows_and_columns_swapped(rows: Sequence[FlowRow]) -> list[FlowRow]:
    """In the position ids of what is looked at."""
    return [
        replace(row, references=replace(row.references, sizes=tuple(size[::-1] for size in row.references.sizes)))
        for row in rows
        if row.references is not None
    ]


def pictures_in_another_order(rows: Sequence[FlowRow]) -> list[FlowRow]:
    """The last one's tokens come first."""
    made = []
    for row in rows:
        assert row.references is not None
        height, width = row.references.sizes[-1]
        tokens = row.references.tokens.roll(height * width, dims=0)
        made.append(replace(row, references=replace(row.references, tokens=tokens)))
    return made


def nothing_looked_at(rows: Sequence[FlowRow]) -> list[FlowRow]:
    return [replace(row, references=None) for row in rows]


def as_it_is(rows: Sequence[FlowRow]) -> list[FlowRow]:
    return list(rows)


FAULTS = (references_of_the_neighbour, rows_and_columns_swapped, nothing_looked_at)


@pytest.mark.parametrize(
    ("model", "further", "fault"),
    [
        pytest.param(model, further, fault, marks=[] if model in QUICK else [pytest.mark.long])
        for model in MODELS
        for further, fault in [
            *((0, fault) for fault in (as_it_is, *FAULTS)),
            *([(2, as_it_is), (2, pictures_in_another_order)] if model in SEVERAL else []),
        ]
    ],
)
def test_comparison_sees_a_fault(model: str, further: int, fault: Fault) -> None:
    adapter: Any = flow.adapter_of(model)
    forward = adapter._forward
    adapter._forward = lambda rows: forward(fault(rows))
    watched = Watched(adapter)
    engine = make_engine(watched, capacity=Measured())
    off = adapter.entry.traits.guided_above
    first, second = (instructed(model, seed, further, guidance_scale=off) for seed in (1, 2))
    # Two smooth pictures are much alike to an autoencoder with random weights.
    first = replace(first, image=np.where(first.image > 128, 0, 255).astype(np.uint8))
    run(engine, submit(engine, first), submit(engine, second))
    away = distance(watched.latents[2], flow.run_instructed_solo(adapter.pipeline, second))
    assert (away > TOLERANCE) is (fault is not as_it_is)


# As of any job.


@pytest.mark.parametrize("model", SOME)
def test_reproducible_edit_has_the_same_bytes_in_any_company(model: str) -> None:
    adapter = flow.adapter_of(model)
    edit = instructed(model, 5, n=2, reproducible=True)
    others = [instructed(model, seed) for seed in (50, 60)]
    (alone,) = run_joining(Watched(adapter), [edit])
    _, among, _ = run_joining(Watched(adapter), [others[0], edit, others[1]])
    assert all(np.array_equal(one, other) for one, other in zip(alone, among, strict=True))


def refusal(adapter: FlowFamily, job: Work) -> tuple[ErrorCode, str]:
    engine = make_engine(adapter, capacity=Measured())
    ticket = submit(engine, job)
    run(engine, ticket)
    with pytest.raises(GenerationFailed) as raised:
        ticket.result()
    return ErrorCode(raised.value.code), str(raised.value)


@pytest.mark.parametrize(
    ("field", "size", "reason"),
    [
        ("image", (48, 64), "sides of 64 pixels and more, not at 48×64 pixels"),
        ("references.0", (640, 64), "up to 8 times as long as wide, not at 640×64 pixels"),
    ],
)
def test_picture_that_the_model_does_not_look_at_is_refused_by_its_field(
    field: str, size: tuple[int, int], reason: str
) -> None:
    adapter = flow.adapter_of("flux2-klein")
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    if field == "image":
        edit = edit_of(flow.spec_of("flux2-klein", width=size[0], height=size[1]), pixels, strength=1.0)
    else:
        edit = replace(instructed("flux2-klein", 1), references=[pixels])
    code, sentence = refusal(adapter, edit)
    assert code is ErrorCode.INVALID_INPUT
    assert sentence.startswith(f"{field}: flux2-klein looks at pictures ")
    assert sentence.endswith(reason)


def test_picture_under_a_mask_may_be_small() -> None:
    """As diffusers' pipeline for it takes it."""
    adapter = flow.adapter_of("flux2-klein")
    watched = Watched(adapter)
    edit = repainted("flux2-klein", 3, width=32, height=32)
    run_joining(watched, [edit])
    assert distance(watched.latents[3], flow.run_edit_solo(adapter.pipeline, edit)) <= TOLERANCE


def test_what_a_model_that_edits_by_instruction_does_not_do_is_refused() -> None:
    kontext = flow.adapter_of(KONTEXT)
    says = "references: the model flux-kontext edits one picture at a time; 3 were sent"
    assert refusal(kontext, instructed(KONTEXT, 1, 2)) == (ErrorCode.INVALID_REQUEST, says)
    says = "strength: flux-kontext edits by instruction, without a strength; use 1"
    assert refusal(kontext, changed(instructed(KONTEXT, 1), strength=0.5)) == (ErrorCode.INVALID_REQUEST, says)
    says = "mask: qwen-image-edit does not repaint a masked part of a picture"
    assert refusal(flow.adapter_of(EDIT), repainted(EDIT, 1)) == (ErrorCode.INVALID_REQUEST, says)
    says = "image: qwen-image-edit only edits pictures"
    assert refusal(flow.adapter_of(EDIT), spec(EDIT, 1)) == (ErrorCode.INVALID_REQUEST, says)


def test_length_of_texts_is_no_field_of_a_model_that_cuts_none() -> None:
    with pytest.raises(ValueError, match="max_sequence_length: models of family qwen-image-edit do not heed it"):
        flow.entry_of(EDIT, max_sequence_length=64)


@pytest.mark.parametrize("model", MODELS)
def test_submission_knows_how_the_model_edits(model: str) -> None:
    adapter = flow.adapter_of(model)
    assert adapter.entry.ways_to_edit == adapter.ways_to_edit
    assert adapter.most_references == (15 if model in SEVERAL else 0)
    assert (adapter.entry.max_references == 0) is (model not in SEVERAL)
