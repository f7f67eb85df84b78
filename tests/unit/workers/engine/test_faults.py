"""Only the culprit fails: the others come out unchanged, and the engine goes on as long as the device does."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from jobs.errors import ErrorCode
from jobs.kinds.generate import GenerateSpec
from tests.unit.workers import tiny
from tests.unit.workers.adapters import QUIET, Wrapped, make_adapter, make_engine, run, submit, warm
from workers.engine.adapter import OnStep
from workers.engine.capacity import Capacity
from workers.engine.engine import Engine
from workers.engine.errors import EngineDied, GenerationFailed
from workers.engine.ticket import Ticket
from workers.families.stable_diffusion import StableDiffusion
from workers.runners.postprocess import Pixels

pytestmark = pytest.mark.filterwarnings(QUIET)

POISON = "poison"
RESULT_S = 60.0

Fault = Callable[[], None]


def out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def bug() -> None:
    raise ZeroDivisionError("the model divides by zero")


def device_error() -> None:
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


class Poisoned(Wrapped):
    """Calls `fault` in `method` whenever the poison prompt is among its jobs."""

    def __init__(self, inner: StableDiffusion, method: str, fault: Fault) -> None:
        super().__init__(inner)
        self._method = method
        self._fault = fault

    def encode(self, specs: Sequence[GenerateSpec]) -> list[Any]:
        self._hit("encode", *specs)
        return super().encode(specs)

    def begin(self, spec: GenerateSpec, conditioning: Any) -> Any:
        self._hit("begin", spec)
        return super().begin(spec, conditioning)

    def predict(self, batch: Sequence[Any], max_rows: int, on_step: OnStep) -> list[Any]:
        self._hit("predict", *(each.spec for each in batch))
        return super().predict(batch, max_rows, on_step)

    def decode(self, run: Any, max_images: int) -> list[Pixels]:
        self._hit("decode", run.spec)
        return super().decode(run, max_images)

    def _hit(self, method: str, *specs: GenerateSpec) -> None:
        if method == self._method and any(spec.prompt == POISON for spec in specs):
            self._fault()


class NotFinite(Wrapped):
    """What is predicted for the poison prompt has one value that is no number."""

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def predict(self, batch: Sequence[Any], max_rows: int, on_step: OnStep) -> list[Any]:
        predictions = super().predict(batch, max_rows, on_step)
        for each, prediction in zip(batch, predictions, strict=True):
            if each.spec.prompt == POISON:
                prediction[(0,) * prediction.ndim] = float("nan")
        return predictions


def eight_jobs(*, poisoned: bool = True, reproducible: bool = True) -> list[GenerateSpec]:
    """Of different steps, with and without guidance; the fourth is poison."""
    entry = make_adapter("stable-diffusion").entry
    return [
        tiny.spec(
            entry,
            prompt=POISON if index == 3 and poisoned else f"{index} red circles",
            seed=index,
            num_inference_steps=4 + index % 3,
            guidance_scale=1.0 + index % 2,
            scheduler="euler_ancestral",
            reproducible=reproducible,
        )
        for index in range(8)
    ]


def run_all(engine: Engine, jobs: Sequence[GenerateSpec]) -> list[Ticket[list[Pixels]]]:
    """All at once, in an engine whose pass has room for them."""
    warm(engine, jobs[0])
    tickets = [submit(engine, job) for job in jobs]
    run(engine, *tickets)
    return tickets


@cache
def undisturbed(*, poisoned: bool, reproducible: bool) -> list[list[Pixels]]:
    """What the eight jobs are where nothing goes wrong."""
    jobs = eight_jobs(poisoned=poisoned, reproducible=reproducible)
    return [ticket.result() for ticket in run_all(make_engine(make_adapter("stable-diffusion")), jobs)]


def failure(ticket: Ticket[list[Pixels]]) -> GenerationFailed:
    with pytest.raises(GenerationFailed) as raised:
        ticket.result()
    return raised.value


def assert_only_poison_failed(tickets: Sequence[Ticket[list[Pixels]]], code: ErrorCode) -> None:
    for ticket, expected in zip(tickets, undisturbed(poisoned=True, reproducible=True), strict=True):
        if ticket.work.prompt == POISON:
            assert failure(ticket).code == code
        else:
            np.testing.assert_array_equal(ticket.result(), expected)


# Out of memory


def test_job_that_does_not_fit_with_a_single_row_fails_alone() -> None:
    jobs = eight_jobs()
    tickets = run_all(make_engine(Poisoned(make_adapter("stable-diffusion"), "predict", out_of_memory)), jobs)
    assert_only_poison_failed(tickets, ErrorCode.OUT_OF_MEMORY)


def test_retry_finds_the_memory_of_the_failed_forward_free() -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []
    is_short = False

    class Hungry(Wrapped):
        def predict(self, batch: Sequence[Any], max_rows: int, on_step: OnStep) -> list[Any]:
            alive.extend(each() is not None for each in held)
            activations = torch.zeros(1 << 10)
            if is_short and max_rows > 2:
                held.append(weakref.ref(activations))
                out_of_memory()
            return super().predict(batch, max_rows, on_step)

    engine = make_engine(Hungry(make_adapter("stable-diffusion")))
    first, second = eight_jobs()[:2]
    warm(engine, first)
    is_short = True
    run(engine, submit(engine, first), submit(engine, second))
    assert held
    assert alive
    assert not any(alive)


# One of eight


@pytest.mark.parametrize("method", ["encode", "begin", "predict", "decode"])
def test_one_poison_prompt_among_seven_fails_alone(method: str) -> None:
    jobs = eight_jobs()
    tickets = run_all(make_engine(Poisoned(make_adapter("stable-diffusion"), method, bug)), jobs)
    assert_only_poison_failed(tickets, ErrorCode.GENERATION_ERROR)
    failed = failure(tickets[3])
    assert ("divides by zero" in str(failed), "divides by zero" in str(failed.__cause__)) == (False, True)


def test_latents_that_are_not_finite_are_an_invalid_output() -> None:
    jobs = eight_jobs()
    tickets = run_all(make_engine(NotFinite(make_adapter("stable-diffusion"))), jobs)
    assert_only_poison_failed(tickets, ErrorCode.INVALID_OUTPUT)


def test_picture_that_is_not_finite_is_an_invalid_output() -> None:
    adapter = make_adapter("stable-diffusion")
    job = eight_jobs()[0]
    engine = make_engine(adapter)

    def overflow(_part: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
        return output * float("inf")

    hook = adapter.pipeline.vae.decoder.register_forward_hook(overflow)
    try:
        ticket = submit(engine, job)
        run(engine, ticket)
    finally:
        hook.remove()
    assert failure(ticket).code == ErrorCode.INVALID_OUTPUT


# The device


@pytest.mark.parametrize("method", ["encode", "begin", "predict", "decode"])
def test_engine_ends_with_all_its_jobs_when_the_device_fails(method: str) -> None:
    deaths: list[BaseException] = []
    adapter = Poisoned(make_adapter("stable-diffusion"), method, device_error)
    engine = Engine({adapter.entry.name: adapter}, Capacity(), on_death=deaths.append)
    tickets = [submit(engine, job.model_copy(update={"num_inference_steps": 1000})) for job in eight_jobs()[:3]]
    tickets.append(submit(engine, eight_jobs()[3]))
    engine.start()
    for ticket in tickets:
        with pytest.raises(EngineDied):
            ticket.result(RESULT_S)
    with pytest.raises(EngineDied):
        submit(engine, eight_jobs()[0])
    engine.stop()
    assert [type(death) for death in deaths] == [torch.AcceleratorError]


def test_jobs_of_a_stopped_engine_are_told_so() -> None:
    adapter = make_adapter("stable-diffusion")
    engine = Engine({adapter.entry.name: adapter}, Capacity())
    ticket = submit(engine, eight_jobs()[0])
    engine.stop()
    with pytest.raises(EngineDied):
        ticket.result(RESULT_S)
