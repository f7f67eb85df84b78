"""Jobs join at the next step and leave at the next step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from jobs.kinds.generate import GenerateSpec
from jobs.kinds.picture import Stage
from jobs.table.states import Status
from tests.unit.workers import tiny
from tests.unit.workers.adapters import Watched, Wrapped, make_adapter, make_engine, run, submit, warm
from workers.attempt.errors import JobLeft
from workers.engine.adapter import OnStep
from workers.engine.capacity import Capacity
from workers.engine.engine import Engine
from workers.engine.errors import EngineDied
from workers.engine.ticket import Ticket
from workers.families.family import PictureFamily
from workers.runners.postprocess import Pixels

RESULT_S = 60.0
STEPS = 50

CANCELED = JobLeft(Status.CANCELED)


class Looking(Wrapped):
    """
    Looks, at each forward, whether a job has its pictures.

    Attributes:
        at: That job; None while nobody is looked at.
        seen: By forward.
    """

    def __init__(self, inner: PictureFamily[Any]) -> None:
        super().__init__(inner)
        self.at: Ticket[list[Pixels]] | None = None
        self.seen: list[bool] = []

    def predict(self, batch: Sequence[Any], max_rows: int, on_step: OnStep) -> list[Any]:
        if self.at is not None:
            self.seen.append(self.at.is_over)
        return super().predict(batch, max_rows, on_step)


def a_job(seed: int, steps: int = STEPS) -> GenerateSpec:
    entry = make_adapter("stable-diffusion").entry
    return tiny.spec(entry, prompt=f"{seed} circles", seed=seed, num_inference_steps=steps, scheduler="ddim")


@pytest.fixture
def watched() -> Watched:
    return Watched(make_adapter("stable-diffusion"))


@pytest.fixture
def engine(watched: Watched) -> Engine:
    engine = make_engine(watched)
    warm(engine, a_job(0))
    return engine


def assert_left(ticket: Ticket[list[Pixels]]) -> None:
    with pytest.raises(JobLeft) as raised:
        ticket.result(RESULT_S)
    assert raised.value.status is Status.CANCELED


def test_new_job_takes_part_in_the_next_pass(engine: Engine, watched: Watched) -> None:
    first = submit(engine, a_job(1))
    for _ in range(5):
        engine.turn()
    before = engine.counts.joined
    second = submit(engine, a_job(2))
    engine.turn()
    assert (first.steps_run, second.steps_run) == (6, 1)
    assert sorted(watched.passes[-1]) == [1, 2]
    assert engine.counts.joined == before + 1


def test_canceled_job_has_no_further_step_and_the_other_goes_on(engine: Engine, watched: Watched) -> None:
    staying, leaving = submit(engine, a_job(1)), submit(engine, a_job(2))
    for _ in range(5):
        engine.turn()
    leaving.leave(CANCELED)
    before = engine.counts.left
    engine.turn()
    assert_left(leaving)
    assert (staying.steps_run, leaving.steps_run) == (6, 5)
    assert watched.passes[-1] == [1]
    assert engine.counts.left == before + 1


def test_pictures_wait_until_the_device_is_at_the_next_pass_and_no_longer(watched: Watched) -> None:
    looking = Looking(watched)
    engine = make_engine(looking)
    warm(engine, a_job(0))
    short, long = submit(engine, a_job(1, steps=2)), submit(engine, a_job(2, steps=4))
    looking.at = short
    for _ in range(2):
        engine.turn()
    assert not short.is_over
    engine.turn()
    assert looking.seen == [False, False, True]
    engine.turn()
    assert long.is_over, "nobody waits where there is no other pass"


def test_pictures_do_not_wait_for_the_measuring_of_another_size(watched: Watched) -> None:
    looking = Looking(watched)
    engine = make_engine(looking)
    warm(engine, a_job(0))
    short, _ = submit(engine, a_job(1, steps=1)), submit(engine, a_job(2))
    engine.turn()
    assert not short.is_over
    looking.at = short
    submit(engine, a_job(3).model_copy(update={"width": 8, "height": 8}))
    engine.turn()
    assert len(looking.seen) > 1, "nothing was measured"
    assert all(looking.seen)


def test_pictures_that_are_done_outlive_the_engine(engine: Engine) -> None:
    short, long = submit(engine, a_job(1, steps=2)), submit(engine, a_job(2))
    for _ in range(2):
        engine.turn()
    engine.stop()
    assert short.result(RESULT_S)
    with pytest.raises(EngineDied):
        long.result(RESULT_S)


def test_job_canceled_while_a_pass_runs_has_that_step_and_no_other(watched: Watched) -> None:
    engine = Engine({watched.entry.name: watched}, Capacity())

    def cancel_at_the_third(_stage: str, step: int, _steps: int) -> None:
        if step == 3:
            ticket.leave(CANCELED)

    other = submit(engine, a_job(1, steps=30))
    ticket = submit(engine, a_job(2), cancel_at_the_third)
    engine.start()
    assert_left(ticket)
    other.result(RESULT_S)
    engine.stop()
    assert ticket.steps_run == 3
    assert engine.counts.left == 1


def test_job_canceled_before_it_is_encoded_costs_nothing(engine: Engine, watched: Watched) -> None:
    ticket = submit(engine, a_job(1))
    other = submit(engine, a_job(2, steps=3))
    ticket.leave(CANCELED)
    before = engine.counts.joined
    engine.turn()
    assert_left(ticket)
    run(engine, other)
    assert other.result()
    assert engine.counts.joined == before + 1
    assert Stage.ENCODE not in ticket.timings
    assert 1 not in watched.offsets


def test_job_canceled_at_its_last_step_is_not_decoded(engine: Engine, watched: Watched) -> None:
    ticket: Ticket[list[Pixels]]

    def cancel_at_the_end(_stage: str, step: int, steps: int) -> None:
        if steps and step == steps:
            ticket.leave(CANCELED)

    ticket = submit(engine, a_job(1, steps=3), cancel_at_the_end)
    run(engine, ticket)
    assert_left(ticket)
    assert ticket.steps_run == 3
    assert 1 not in watched.latents


def test_every_step_is_told_once_and_in_order(engine: Engine) -> None:
    told: list[tuple[str, int, int]] = []
    ticket = submit(engine, a_job(1, steps=4), lambda stage, step, steps: told.append((stage, step, steps)))
    run(engine, ticket)
    assert told == [(Stage.GENERATE, step, 4) for step in range(5)]


def test_first_reason_to_leave_counts(engine: Engine) -> None:
    ticket = submit(engine, a_job(1))
    ticket.leave(CANCELED)
    ticket.leave(JobLeft(Status.EXPIRED))
    engine.turn()
    assert_left(ticket)


def test_jobs_that_came_and_went_are_counted(engine: Engine) -> None:
    before = engine.counts.finished
    tickets = [submit(engine, a_job(seed, steps=3 + seed)) for seed in range(1, 5)]
    tickets[0].leave(CANCELED)
    engine.turn()
    tickets[1].leave(CANCELED)
    run(engine, *tickets)
    assert engine.counts.finished == before + 2
    assert engine.counts.left == 1
    assert engine.counts.failed == 0


def test_result_can_be_waited_for_with_a_limit(engine: Engine) -> None:
    with pytest.raises(TimeoutError):
        submit(engine, a_job(1)).result(timeout_s=0.0)
