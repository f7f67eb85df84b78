"""Teeth of `test_flow_exactness`: each of these faults is one that its comparison must see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from jobs.kinds.generate import GenerateSpec
from tests.further.listed import OLD
from tests.unit.workers import flow
from tests.unit.workers.adapters import QUIET, Watched, make_engine, run, submit
from tests.unit.workers.flow_joining import ANY_SIZE, MODELS, QUICK, TOLERANCE, distance
from workers.families.flow.family import FlowFamily
from workers.families.flow.rows import FlowRow
from workers.families.flow.run import FlowConditioning, Guide
from workers.families.flow.texts import TextStage

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings(OLD)]

Patch = Callable[[FlowFamily], None]
ChangeRows = Callable[[Sequence[FlowRow]], Sequence[FlowRow]]


def with_rows(adapter: FlowFamily, change: ChangeRows) -> None:
    """Have each forward be given other rows."""
    forward = adapter._forward
    adapter._forward = lambda rows: forward(change(rows))  # type: ignore[method-assign]


def prompts_of_the_neighbour(adapter: FlowFamily) -> None:
    """A pass gives each row the text of the one before."""
    with_rows(adapter, lambda rows: [replace(row, text=rows[at - 1].text) for at, row in enumerate(rows)])


def guidance_of_the_neighbour(adapter: FlowFamily) -> None:
    if adapter.entry.how_guided == "embedded":
        with_rows(
            adapter,
            lambda rows: [replace(row, guidance_scale=rows[at - 1].guidance_scale) for at, row in enumerate(rows)],
        )
        return
    guide_of = adapter._guide_of

    def faulty(_conditioning: FlowConditioning, _passes: int) -> Guide:
        guide = guide_of(_conditioning, _passes)
        return lambda with_prompt, without, scale: guide(with_prompt, without, scale + 1)

    adapter._guide_of = faulty  # type: ignore[method-assign]


def mu_off_by_one(adapter: FlowFamily) -> None:
    mu = adapter._mu
    adapter._mu = lambda spec: mu(spec) + 1  # type: ignore[method-assign]


def rows_off_by_one(adapter: FlowFamily) -> None:
    forward = adapter._forward

    def faulty(rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        made = list(forward(rows))
        return [made[at - 1] for at in range(len(made))]

    adapter._forward = faulty  # type: ignore[method-assign]


def mask_left_out(adapter: FlowFamily) -> None:
    """Texts are filled up to the longest, and the model is not told."""

    def filled_up(rows: Sequence[FlowRow]) -> Sequence[FlowRow]:
        texts = torch.nn.utils.rnn.pad_sequence([row.text[0] for row in rows], batch_first=True)
        return [replace(row, text=(text, *row.text[1:])) for row, text in zip(rows, texts, strict=True)]

    with_rows(adapter, filled_up)


def texts_filled_up_to_less(adapter: FlowFamily) -> None:
    adapter._fixed_length = lambda: flow.max_tokens(adapter.name) // 2  # type: ignore[method-assign]


def position_ids_swapped(adapter: FlowFamily) -> None:
    """Rows and columns of the picture."""
    if hasattr(adapter, "_image_ids"):
        image_ids = adapter._image_ids
        adapter._image_ids = lambda rows: image_ids(rows)[..., [*range(image_ids(rows).shape[-1])][::-1]]
    else:
        with_rows(adapter, lambda rows: [replace(row, size=row.size[::-1]) for row in rows])


def words_before_the_prompt_left_out(adapter: FlowFamily) -> None:
    adapter._texts = lambda spec: TextStage._texts(adapter, spec)  # type: ignore[method-assign]


def length_of_the_prediction_not_kept(adapter: FlowFamily) -> None:
    adapter._guide = lambda *each: FlowFamily._guide(adapter, *each)  # type: ignore[method-assign]


def guider_of_the_neighbour(adapter: FlowFamily) -> None:
    """All jobs have one, which remembers the steps of all."""
    guide_of, guides = adapter._guide_of, list[Guide]()

    def faulty(_conditioning: FlowConditioning, _passes: int) -> Guide:
        guides.append(guide_of(_conditioning, _passes))
        return guides[0]

    adapter._guide_of = faulty  # type: ignore[method-assign]


def letters_left_out(adapter: FlowFamily) -> None:
    with_rows(adapter, lambda rows: [replace(row, text=(row.text[0], row.text[1][:0])) for row in rows])


def step_that_leads_nowhere(adapter: FlowFamily) -> None:
    with_rows(adapter, lambda rows: [replace(row, next_timestep=row.timestep) for row in rows])


def latents_without_their_scale(adapter: FlowFamily) -> None:
    adapter._pack = lambda latents: latents  # type: ignore[method-assign]


def times_of_a_flow_taken_for_angles(adapter: FlowFamily) -> None:
    with_rows(adapter, lambda rows: [replace(row, timestep=row.timestep / 2) for row in rows])


IS_BY_SIZE = ("flux-dev", "flux2-dev", "flux2-klein", "flux2-klein-distilled", "qwen-image", "krea2")
HAS_MASK = ("qwen-image", "z-image", "lumina2", "hunyuan-image", "krea2", "sana", "sana-sprint")
HAS_IDS = [model for model in MODELS if model.startswith("flux") or model in ("qwen-image", "chroma", "krea2")]
TEETH: list[tuple[str, Patch]] = [
    *((model, fault) for model in MODELS for fault in (prompts_of_the_neighbour, rows_off_by_one)),
    *((model, guidance_of_the_neighbour) for model in MODELS if flow.entry_of(model).how_guided != "none"),
    *((model, mu_off_by_one) for model in IS_BY_SIZE),
    *((model, mask_left_out) for model in HAS_MASK),
    *((model, texts_filled_up_to_less) for model in ("chroma", "aura-flow")),
    *((model, position_ids_swapped) for model in HAS_IDS),
    *((model, words_before_the_prompt_left_out) for model in ("lumina2", "sana", "sana-sprint")),
    *((model, length_of_the_prediction_not_kept) for model in ("qwen-image", "lumina2")),
    ("hunyuan-image", guider_of_the_neighbour),
    ("hunyuan-image", letters_left_out),
    ("hunyuan-image-distilled", step_that_leads_nowhere),
    ("sana-sprint", latents_without_their_scale),
    ("sana-sprint", times_of_a_flow_taken_for_angles),
]


def is_quick(model: str, fault: Patch | None) -> bool:
    """Whether it is among a change's tests: each fault of the usual models with one of them."""
    if fault is None:
        return model == ANY_SIZE
    return [each for each, looked_for in TEETH if looked_for is fault and each in QUICK][:1] == [model]


@contextmanager
def two_in_a_run(model: str, fault: Patch | None) -> Iterator[tuple[Watched, GenerateSpec, Any]]:
    """Two jobs together, and the second of them."""
    adapter = flow.adapter_of(model)
    if fault is not None:
        fault(adapter)
    watched = Watched(adapter)
    side = flow.side_of(model)
    common: dict[str, Any] = {"width": 2 * side, "height": side}
    first = flow.spec_of(
        model, prompt="a long description of a ring that is cyan", seed=1, guidance_scale=5.0, **common
    )
    blue = "a blue star" + flow.letters_of(model, "go", 1)
    second = flow.spec_of(model, prompt=blue, seed=2, guidance_scale=2.0, **common)
    engine = make_engine(watched)
    run(engine, submit(engine, first), submit(engine, second))
    yield watched, second, adapter.pipeline


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        pytest.param(model, fault, marks=[] if is_quick(model, fault) else [pytest.mark.long])
        for model, fault in [*((model, None) for model in MODELS), *TEETH]
    ],
)
def test_comparison_sees_a_fault(model: str, fault: Patch | None) -> None:
    with two_in_a_run(model, fault) as (watched, job, pipeline):
        away = distance(watched.latents[job.seed], flow.run_solo(pipeline, job))
    assert (away > TOLERANCE) is (fault is not None)


def test_models_whose_shift_depends_on_the_size_are_those_that_are_tried() -> None:
    configs = {model: flow.pipeline_of(model).scheduler.config for model in MODELS}
    assert {model for model, config in configs.items() if config.get("use_dynamic_shifting")} == {*IS_BY_SIZE}
