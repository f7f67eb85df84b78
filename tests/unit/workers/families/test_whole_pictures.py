"""What a pipeline is called with, what it tells on the way, and what is made of whatever it returns."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.errors import ErrorCode
from jobs.kinds.generate import GenerateSpec
from jobs.kinds.picture import Stage
from jobs.table.states import Status
from tests import tiny_pipelines
from tests.further import unets
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, Measured, make_engine, run, submit
from workers.attempt.errors import JobLeft
from workers.engine.engine import Engine
from workers.engine.errors import GenerationFailed
from workers.engine.ticket import Ticket
from workers.families.diffusers import WholePipeline
from workers.runners.postprocess import Pixels

pytestmark = pytest.mark.filterwarnings(QUIET)

SIDE = 64
STEPS = 5
DEFAULTS = tiny.model("diffusers").defaults.model_copy(update={"width": SIDE, "height": SIDE})
ENTRY = tiny.model("diffusers", defaults=DEFAULTS)


def a_job(seed: int, **fields: Any) -> GenerateSpec:
    return tiny.spec(ENTRY, seed=seed, num_inference_steps=STEPS, **fields)


def engine_of(pipeline: Any) -> Engine:
    return make_engine(WholePipeline(ENTRY, pipeline), capacity=Measured())


@pytest.mark.parametrize(
    ("make", "negative_prompt"),
    [(tiny_pipelines.flux, ""), (tiny_pipelines.pixart, "gray"), (tiny_pipelines.sana, "gray")],
)
def test_argument_that_the_job_has_not_is_left_out(make: Any, negative_prompt: str) -> None:
    engine = engine_of(make())
    tickets = [submit(engine, a_job(1)), submit(engine, a_job(2, n=2, negative_prompt=negative_prompt))]
    run(engine, *tickets)
    assert [[picture.shape for picture in each.result()] for each in tickets] == [
        [(SIDE, SIDE, 3)],
        [(SIDE, SIDE, 3)] * 2,
    ]


def test_picture_of_another_size_fails_its_job_alone() -> None:
    engine = engine_of(tiny_pipelines.flux())
    wrong, right = submit(engine, a_job(1, width=72)), submit(engine, a_job(2))
    run(engine, wrong, right)
    with pytest.raises(GenerationFailed) as raised:
        wrong.result()
    assert raised.value.code == ErrorCode.INVALID_OUTPUT
    assert str(raised.value).startswith("width: 72×64 pixels were requested, but the model made 64×64. ")
    assert "limits.side_multiple of [models.diffusers] in models.toml" in str(raised.value)
    assert [picture.shape for picture in right.result()] == [(SIDE, SIDE, 3)]


def test_steps_are_told_where_the_pipeline_takes_no_callback() -> None:
    told: list[int] = []
    engine = engine_of(tiny_pipelines.pixart())
    ticket = submit(engine, a_job(1), lambda stage, step, _: told.append(step) if stage == Stage.GENERATE else None)
    run(engine, ticket)
    assert told == [*range(STEPS + 1), STEPS]


def test_steps_of_two_calls_each_are_counted_once() -> None:
    told: list[int] = []
    engine = engine_of(tiny_pipelines.pixart())
    ticket = submit(engine, a_job(1, scheduler="heun"), lambda _stage, step, _steps: told.append(step))
    run(engine, ticket)
    assert told == sorted(told)
    assert told[-1] == STEPS


def test_call_without_a_callback_is_interrupted_when_nobody_waits_for_it() -> None:
    ticket: Ticket[list[Pixels]]
    told: list[int] = []

    def cancel(_stage: str, step: int, _steps: int) -> None:
        told.append(step)
        if step == 2:
            ticket.leave(JobLeft(Status.CANCELED))

    engine = engine_of(tiny_pipelines.pixart())
    ticket = submit(engine, a_job(1), cancel)
    run(engine, ticket)
    with pytest.raises(JobLeft):
        ticket.result()
    assert max(told) == 2


class Painted:
    """
    A pipeline in the seed's colour: a batch that is cut short shows whose picture is whose.

    Args:
        most: Pictures that it makes in one call, whatever was asked.
        paint: Makes what it returns of the colours, 0 to 1, (n, 1, 1, 3).
    """

    def __init__(self, most: int, paint: Any) -> None:
        self._most, self._paint = most, paint

    def set_progress_bar_config(self, **_options: Any) -> None:
        """Has no bar."""

    def __call__(self, prompt: list[str], width: int, height: int, generator: list[torch.Generator]) -> Any:
        colours = np.array([[[[each.initial_seed() / 255] * 3]] for each in generator[: self._most]])
        return SimpleNamespace(images=self._paint(np.broadcast_to(colours, (len(colours), height, width, 3))))


def test_jobs_get_their_own_pictures_where_a_pipeline_makes_fewer_than_asked() -> None:
    engine = engine_of(Painted(1, lambda pictures: pictures))
    first, second, two = (submit(engine, job) for job in (a_job(10), a_job(20), a_job(30, n=2)))
    run(engine, first, second, two)
    assert [int(ticket.result()[0].max()) for ticket in (first, second)] == [10, 20]
    with pytest.raises(GenerationFailed, match=r"^n: 2 pictures were requested, but the model made 1. ") as raised:
        two.result()
    assert raised.value.code == ErrorCode.INVALID_OUTPUT


def test_picture_that_the_safety_checker_withholds_fails_its_job() -> None:
    engine = engine_of(unets.with_safety_checker())
    ticket = submit(engine, a_job(1))
    run(engine, ticket)
    with pytest.raises(GenerationFailed, match=r"^the model's own safety checker withheld a picture$") as raised:
        ticket.result()
    assert raised.value.code == ErrorCode.INVALID_OUTPUT


class Checked(Painted):
    """Whose checker withholds the second picture."""

    def __call__(self, prompt: list[str], width: int, height: int, generator: list[torch.Generator]) -> Any:
        made = super().__call__(prompt, width, height, generator)
        return SimpleNamespace(images=made.images, nsfw_content_detected=[False, True, False])


@pytest.mark.parametrize("paint", [lambda pictures: pictures, lambda pictures: (pictures * 255).astype(np.uint8)])
def test_picture_that_is_withheld_leaves_its_neighbours_alone(paint: Any) -> None:
    engine = engine_of(Checked(3, paint))
    tickets = [submit(engine, a_job(seed)) for seed in (10, 20, 30)]
    run(engine, *tickets)
    assert [int(tickets[index].result()[0].max()) for index in (0, 2)] == [10, 30]
    with pytest.raises(GenerationFailed, match="withheld"):
        tickets[1].result()


@pytest.mark.parametrize(
    "paint",
    [
        lambda pictures: pictures,
        list,
        lambda pictures: (pictures * 255).round().astype(np.uint8),
        lambda pictures: [Image.fromarray((each * 255).round().astype(np.uint8)) for each in pictures],
    ],
    ids=["array", "list", "levels", "PIL"],
)
def test_pictures_in_any_form_become_the_same_levels(paint: Any) -> None:
    engine = engine_of(Painted(9, paint))
    ticket = submit(engine, a_job(100, n=2))
    run(engine, ticket)
    assert [(int(each.min()), int(each.max())) for each in ticket.result()] == [(100, 100), (101, 101)]


@pytest.mark.parametrize(
    ("paint", "says"),
    [
        (lambda pictures: pictures[..., :1], "the model made 64×64×1 values of uint8, which is not an image"),
        (lambda pictures: pictures[0], "n: 1 picture was requested, but the model made 64"),
        (lambda pictures: pictures[:, :32], "height: 64×64 pixels were requested, but the model made 64×32"),
    ],
)
def test_what_is_no_such_picture_is_an_invalid_output(paint: Any, says: str) -> None:
    engine = engine_of(Painted(9, paint))
    ticket = submit(engine, a_job(1))
    run(engine, ticket)
    with pytest.raises(GenerationFailed) as raised:
        ticket.result()
    assert raised.value.code == ErrorCode.INVALID_OUTPUT
    assert str(raised.value).startswith(says)
