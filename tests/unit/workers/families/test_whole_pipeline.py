"""A pipeline without a family of its own runs through its own call, and equals it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from jobs.errors import ErrorCode
from jobs.kinds.generate import GenerateSpec
from jobs.kinds.picture import Stage
from jobs.table.states import Status
from tests.unit.workers import tiny
from tests.unit.workers.adapters import ROWS, Measured, make_engine, run, submit
from workers.attempt.errors import JobLeft
from workers.engine.engine import Engine
from workers.engine.errors import GenerationFailed
from workers.engine.ticket import Ticket
from workers.families.diffusers import WholePipeline
from workers.runners.postprocess import Pixels

ENTRY = tiny.model("diffusers")
STEPS = 5


def a_job(seed: int, **fields: Any) -> GenerateSpec:
    return tiny.spec(ENTRY, prompt=f"{seed} red circles", seed=seed, num_inference_steps=STEPS, **fields)


class Calls:
    """Rows of each call of the transformer."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, _model: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        self.rows.append(len(kwargs["hidden_states"]))


@pytest.fixture
def engine() -> Engine:
    return make_engine(WholePipeline(ENTRY, tiny.stable_diffusion_3()), capacity=Measured())


@contextmanager
def called() -> Iterator[Calls]:
    calls = Calls()
    hook = tiny.stable_diffusion_3().transformer.register_forward_pre_hook(calls, with_kwargs=True)
    try:
        yield calls
    finally:
        hook.remove()


@pytest.fixture
def calls() -> Iterator[Calls]:
    with called() as calls:
        yield calls


def solo(job: GenerateSpec) -> list[Pixels]:
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


def assert_equal_solo(ticket: Ticket[list[Pixels]]) -> None:
    pictures = ticket.result()
    assert len(pictures) == ticket.work.n
    for picture, expected in zip(pictures, solo(ticket.work), strict=True):
        np.testing.assert_allclose(picture.astype(int), expected.astype(int), atol=1)


def test_job_equals_its_own_solo_call_whatever_runs_beside_it(engine: Engine) -> None:
    jobs = [a_job(10), a_job(20, n=2), a_job(30, guidance_scale=1.0), a_job(40, negative_prompt="gray"), a_job(50)]
    tickets = [submit(engine, job) for job in jobs]
    run(engine, *tickets)
    for ticket in tickets:
        assert_equal_solo(ticket)


def test_jobs_of_equal_parameters_share_a_call_and_others_do_not(engine: Engine, calls: Calls) -> None:
    tickets = [submit(engine, a_job(10)), submit(engine, a_job(20)), submit(engine, a_job(30, guidance_scale=1.0))]
    run(engine, *tickets)
    assert sorted(calls.rows) == [1] * STEPS + [4] * STEPS  # Guidance takes two rows for each image.


def test_reproducible_job_is_the_same_bit_for_bit_beside_others(engine: Engine) -> None:
    alone = submit(engine, a_job(10, reproducible=True))
    run(engine, alone)
    beside = [submit(engine, a_job(20)), submit(engine, a_job(10, reproducible=True)), submit(engine, a_job(30, n=2))]
    run(engine, *beside)
    np.testing.assert_array_equal(beside[1].result(), alone.result())


def test_every_step_is_told(engine: Engine) -> None:
    told: list[tuple[str, int, int]] = []
    ticket = submit(engine, a_job(10), lambda stage, step, steps: told.append((stage, step, steps)))
    run(engine, ticket)
    assert [step for stage, step, steps in told if stage == Stage.GENERATE] == [*range(STEPS + 1), STEPS]
    assert {steps for _, _, steps in told} == {STEPS}


def test_call_is_interrupted_when_nobody_waits_for_it(engine: Engine, calls: Calls) -> None:
    ticket: Ticket[list[Pixels]]

    def cancel(_stage: str, step: int, _steps: int) -> None:
        if step == 2:
            ticket.leave(JobLeft(Status.CANCELED))

    ticket = submit(engine, a_job(10), cancel)
    run(engine, ticket)
    with pytest.raises(JobLeft):
        ticket.result()
    assert len(calls.rows) == 2
    following = submit(engine, a_job(20))
    run(engine, following)
    assert_equal_solo(following)


def test_canceled_job_does_not_interrupt_the_one_beside_it(engine: Engine) -> None:
    leaving: Ticket[list[Pixels]]

    def cancel(_stage: str, step: int, _steps: int) -> None:
        if step == 2:
            leaving.leave(JobLeft(Status.CANCELED))

    def look(_stage: str, step: int, _steps: int) -> None:
        if step == 3:
            left.append(leaving.is_over)

    left: list[bool] = []
    leaving, staying = submit(engine, a_job(10), cancel), submit(engine, a_job(20), look)
    run(engine, leaving, staying)
    with pytest.raises(JobLeft):
        leaving.result()
    assert left == [True]  # It did not wait for the end of the call.
    assert_equal_solo(staying)


def test_progress_goes_forward_where_a_job_takes_several_calls(engine: Engine, calls: Calls) -> None:
    told: list[int] = []
    ticket = submit(engine, a_job(10, n=ROWS + 1), lambda _stage, step, _steps: told.append(step))
    run(engine, ticket)
    assert len(calls.rows) == 2 * STEPS
    assert told == sorted(told)
    assert told[-1] == STEPS


def test_sampling_parameters_that_cost_nothing_are_not_measured_again() -> None:
    engine = make_engine(WholePipeline(ENTRY, tiny.stable_diffusion_3()))
    run(engine, submit(engine, a_job(0)))  # Measures.
    with called() as calls:
        for number in range(1, 5):
            run(engine, submit(engine, a_job(number, guidance_scale=3.0 + number / 100)))
    assert len(calls.rows) == 4 * STEPS


def test_negative_prompt_is_refused_where_the_pipeline_takes_none() -> None:
    class Positive:
        def set_progress_bar_config(self, **_options: Any) -> None:
            """Has no bar."""

        def __call__(self, prompt: list[str]) -> None:
            """Draws nothing."""

    engine = make_engine(WholePipeline(ENTRY, Positive()))
    ticket = submit(engine, a_job(1, negative_prompt="gray"))
    run(engine, ticket)
    with pytest.raises(GenerationFailed) as raised:
        ticket.result()
    assert raised.value.code == ErrorCode.INVALID_REQUEST
