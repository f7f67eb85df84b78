"""A pipeline without a family of its own runs through its own call, and equals it."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.errors import ErrorCode
from jobs.spec import JobSpec
from jobs.states import Stage, Status
from tests import tiny_pipelines
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, ROWS, Measured, make_engine, run
from workers.engine.engine import Engine
from workers.engine.ticket import Ticket
from workers.errors import GenerationFailed, JobLeft
from workers.families.whole_pipeline import WholePipeline
from workers.postprocess import Pixels

pytestmark = pytest.mark.filterwarnings(QUIET)

ENTRY = tiny.model("diffusers")
STEPS = 5


def a_job(seed: int, **fields: Any) -> JobSpec:
    return tiny.spec(ENTRY, prompt=f"{seed} red circles", seed=seed, num_inference_steps=STEPS, **fields)


class Calls:
    """Rows of each call of the transformer, once sizes are measured."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, _model: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        self.rows.append(len(kwargs["hidden_states"]))


@pytest.fixture
def engine() -> Engine:
    engine = make_engine(WholePipeline(ENTRY, tiny.stable_diffusion_3()))
    # Sizes are measured for each set of parameters.
    run(engine, engine.submit(a_job(0)), engine.submit(a_job(0, guidance_scale=1.0)))
    return engine


@pytest.fixture
def calls(engine: Engine) -> Iterator[Calls]:
    calls = Calls()
    hook = tiny.stable_diffusion_3().transformer.register_forward_pre_hook(calls, with_kwargs=True)
    yield calls
    hook.remove()


def solo(job: JobSpec) -> list[Pixels]:
    made = tiny.stable_diffusion_3()(
        prompt=job.prompt,
        negative_prompt=job.negative_prompt or None,
        width=job.width,
        height=job.height,
        num_inference_steps=job.num_inference_steps,
        guidance_scale=job.guidance_scale,
        num_images_per_prompt=job.n,
        generator=[torch.Generator().manual_seed(job.seed + index) for index in range(job.n)],
        output_type="np",
    ).images
    return list((made * 255).round().astype(np.uint8))


def assert_equal_solo(ticket: Ticket) -> None:
    pictures = ticket.result()
    assert len(pictures) == ticket.spec.n
    for picture, expected in zip(pictures, solo(ticket.spec), strict=True):
        np.testing.assert_allclose(picture.astype(int), expected.astype(int), atol=1)


def test_job_equals_its_own_solo_call_whatever_runs_beside_it(engine: Engine) -> None:
    jobs = [a_job(10), a_job(20, n=2), a_job(30, guidance_scale=1.0), a_job(40, negative_prompt="gray"), a_job(50)]
    tickets = [engine.submit(job) for job in jobs]
    run(engine, *tickets)
    for ticket in tickets:
        assert_equal_solo(ticket)


def test_jobs_of_equal_parameters_share_a_call_and_others_do_not(engine: Engine, calls: Calls) -> None:
    tickets = [engine.submit(a_job(10)), engine.submit(a_job(20)), engine.submit(a_job(30, guidance_scale=1.0))]
    run(engine, *tickets)
    assert sorted(calls.rows) == [1] * STEPS + [4] * STEPS  # Guidance takes two rows for each image.


def test_reproducible_job_is_the_same_bit_for_bit_beside_others(engine: Engine) -> None:
    alone = engine.submit(a_job(10, reproducible=True))
    run(engine, alone)
    beside = [engine.submit(a_job(20)), engine.submit(a_job(10, reproducible=True)), engine.submit(a_job(30, n=2))]
    run(engine, *beside)
    np.testing.assert_array_equal(beside[1].result(), alone.result())


def test_every_step_is_told(engine: Engine) -> None:
    told: list[tuple[Stage, int, int]] = []
    ticket = engine.submit(a_job(10), lambda stage, step, steps: told.append((stage, step, steps)))
    run(engine, ticket)
    assert [step for stage, step, steps in told if stage is Stage.GENERATE] == [*range(STEPS + 1), STEPS]
    assert {steps for _, _, steps in told} == {STEPS}


def test_call_is_interrupted_when_nobody_waits_for_it(engine: Engine, calls: Calls) -> None:
    ticket: Ticket

    def cancel(_stage: Stage, step: int, _steps: int) -> None:
        if step == 2:
            ticket.leave(JobLeft(Status.CANCELED))

    ticket = engine.submit(a_job(10), cancel)
    run(engine, ticket)
    with pytest.raises(JobLeft):
        ticket.result()
    assert len(calls.rows) == 2
    following = engine.submit(a_job(20))
    run(engine, following)
    assert_equal_solo(following)


def test_canceled_job_does_not_interrupt_the_one_beside_it(engine: Engine) -> None:
    leaving: Ticket

    def cancel(_stage: Stage, step: int, _steps: int) -> None:
        if step == 2:
            leaving.leave(JobLeft(Status.CANCELED))

    def look(_stage: Stage, step: int, _steps: int) -> None:
        if step == 3:
            left.append(leaving.is_over)

    left: list[bool] = []
    leaving, staying = engine.submit(a_job(10), cancel), engine.submit(a_job(20), look)
    run(engine, leaving, staying)
    with pytest.raises(JobLeft):
        leaving.result()
    assert left == [True]  # It did not wait for the end of the call.
    assert_equal_solo(staying)


def test_progress_goes_forward_where_a_job_takes_several_calls(engine: Engine, calls: Calls) -> None:
    told: list[int] = []
    ticket = engine.submit(a_job(10, n=ROWS + 1), lambda _stage, step, _steps: told.append(step))
    run(engine, ticket)
    assert len(calls.rows) == 2 * STEPS
    assert told == sorted(told)
    assert told[-1] == STEPS


def test_sampling_parameters_that_cost_nothing_are_not_measured_again(engine: Engine, calls: Calls) -> None:
    for number in range(5):
        run(engine, engine.submit(a_job(number, guidance_scale=3.0 + number / 100)))
    assert len(calls.rows) == 5 * STEPS


def test_negative_prompt_is_refused_where_the_pipeline_takes_none() -> None:
    class Positive:
        def set_progress_bar_config(self, **_options: Any) -> None:
            """Has no bar."""

        def __call__(self, prompt: list[str]) -> None:
            """Draws nothing."""

    engine = make_engine(WholePipeline(ENTRY, Positive()))
    ticket = engine.submit(a_job(1, negative_prompt="gray"))
    run(engine, ticket)
    with pytest.raises(GenerationFailed) as raised:
        ticket.result()
    assert raised.value.code is ErrorCode.INVALID_REQUEST


SIDE = 64
DEFAULTS = ENTRY.defaults.model_copy(update={"width": SIDE, "height": SIDE})
LARGER = tiny.model("diffusers", defaults=DEFAULTS)


def a_larger_job(seed: int, **fields: Any) -> JobSpec:
    return tiny.spec(LARGER, seed=seed, num_inference_steps=STEPS, **fields)


def engine_of(pipeline: Any) -> Engine:
    return make_engine(WholePipeline(LARGER, pipeline), capacity=Measured())


@pytest.mark.parametrize("make", [tiny_pipelines.flux, tiny_pipelines.pixart, tiny_pipelines.sana])
def test_argument_that_the_job_has_not_is_left_out(make: Any) -> None:
    engine = engine_of(make())
    tickets = [engine.submit(a_larger_job(1)), engine.submit(a_larger_job(2, n=2, negative_prompt="gray"))]
    run(engine, *tickets)
    assert [[picture.shape for picture in each.result()] for each in tickets] == [
        [(SIDE, SIDE, 3)],
        [(SIDE, SIDE, 3)] * 2,
    ]


def test_picture_of_another_size_fails_its_job_alone() -> None:
    engine = engine_of(tiny_pipelines.flux())
    wrong, right = engine.submit(a_larger_job(1, width=72)), engine.submit(a_larger_job(2))
    run(engine, wrong, right)
    with pytest.raises(GenerationFailed) as raised:
        wrong.result()
    assert raised.value.code is ErrorCode.INVALID_OUTPUT
    assert str(raised.value).startswith("width: 72×64 pixels were asked, and the model made 64×64. ")
    assert "limits.side_multiple of [models.diffusers] in models.toml" in str(raised.value)
    assert [picture.shape for picture in right.result()] == [(SIDE, SIDE, 3)]


def test_steps_are_told_where_the_pipeline_takes_no_callback() -> None:
    told: list[int] = []
    engine = engine_of(tiny_pipelines.pixart())
    ticket = engine.submit(
        a_larger_job(1), lambda stage, step, _: told.append(step) if stage is Stage.GENERATE else None
    )
    run(engine, ticket)
    assert told == [*range(STEPS + 1), STEPS]


def test_steps_of_two_calls_each_are_counted_once() -> None:
    told: list[int] = []
    engine = engine_of(tiny_pipelines.pixart())
    ticket = engine.submit(a_larger_job(1, scheduler="heun"), lambda _stage, step, _steps: told.append(step))
    run(engine, ticket)
    assert told == sorted(told)
    assert told[-1] == STEPS


def test_call_without_a_callback_is_interrupted_when_nobody_waits_for_it() -> None:
    ticket: Ticket
    told: list[int] = []

    def cancel(_stage: Stage, step: int, _steps: int) -> None:
        told.append(step)
        if step == 2:
            ticket.leave(JobLeft(Status.CANCELED))

    engine = engine_of(tiny_pipelines.pixart())
    ticket = engine.submit(a_larger_job(1), cancel)
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
    first, second, two = (engine.submit(job) for job in (a_larger_job(10), a_larger_job(20), a_larger_job(30, n=2)))
    run(engine, first, second, two)
    assert [int(ticket.result()[0].max()) for ticket in (first, second)] == [10, 20]
    with pytest.raises(GenerationFailed, match=r"^n: 2 pictures were asked, and the model made 1. ") as raised:
        two.result()
    assert raised.value.code is ErrorCode.INVALID_OUTPUT


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
    ticket = engine.submit(a_larger_job(100, n=2))
    run(engine, ticket)
    assert [(int(each.min()), int(each.max())) for each in ticket.result()] == [(100, 100), (101, 101)]


@pytest.mark.parametrize(
    ("paint", "says"),
    [
        (lambda pictures: pictures[..., :1], "the model made 64×64×1 values of uint8, which is no picture"),
        (lambda pictures: pictures[0], "n: 1 picture was asked, and the model made 64"),
        (lambda pictures: pictures[:, :32], "height: 64×64 pixels were asked, and the model made 64×32"),
    ],
)
def test_what_is_no_such_picture_is_an_invalid_output(paint: Any, says: str) -> None:
    engine = engine_of(Painted(9, paint))
    ticket = engine.submit(a_larger_job(1))
    run(engine, ticket)
    with pytest.raises(GenerationFailed) as raised:
        ticket.result()
    assert raised.value.code is ErrorCode.INVALID_OUTPUT
    assert str(raised.value).startswith(says)
