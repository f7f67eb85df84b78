"""Where memory is short a job has fewer rows in a forward, and one that is to be reproducible says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from jobs.kinds.generate import GenerateSpec
from tests import tiny_pipelines
from tests.unit.workers import flow, tiny
from tests.unit.workers.adapters import QUIET, Measured, make_adapter, make_engine, run, submit, warm
from workers.engine.adapter import AnyAdapter
from workers.engine.capacity import PassTimes
from workers.engine.engine import Engine
from workers.engine.run import Run
from workers.families.diffusers import WholePipeline
from workers.families.family import PictureFamily
from workers.runners.postprocess import Pixels

pytestmark = pytest.mark.filterwarnings(QUIET)

SHORT = "reproducible: the device's memory was short, so it computed with fewer rows; the bytes may be others"
ENTRY = tiny.model(
    "diffusers", defaults=tiny.model("diffusers").defaults.model_copy(update={"width": 64, "height": 64})
)


def by_unet(**fields: Any) -> tuple[PictureFamily[Any], Any, GenerateSpec]:
    adapter = make_adapter("stable-diffusion")
    return adapter, adapter.pipeline.unet, tiny.spec(adapter.entry, scheduler="ddim", **fields)


def by_flow(**fields: Any) -> tuple[PictureFamily[Any], Any, GenerateSpec]:
    adapter = flow.adapter_of("z-image")
    return adapter, adapter.pipeline.transformer, flow.spec_of("z-image", **fields | {"guidance_scale": 0.0})


def whole(**fields: Any) -> tuple[PictureFamily[Any], Any, GenerateSpec]:
    pipeline = tiny_pipelines.pixart()
    return WholePipeline(ENTRY, pipeline), pipeline.transformer, tiny.spec(ENTRY, num_inference_steps=4, **fields)


FAMILIES = [by_unet, by_flow, whole]
Make = Callable[..., tuple[PictureFamily[Any], Any, GenerateSpec]]


@contextmanager
def memory_for(model: Any, fits: int) -> Iterator[list[int]]:
    """A model that runs out of memory above so many rows of a forward. Gives the rows of all forwards."""
    tried: list[int] = []

    def check(_model: Any, args: tuple[Any, ...]) -> None:
        tried.append(len(args[0]))
        if len(args[0]) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    hook = model.register_forward_pre_hook(check)
    try:
        yield tried
    finally:
        hook.remove()


class FewRows(Measured):
    """Has found that a pass of one row is best, as of models that fill a device alone."""

    def learn(self, adapter: AnyAdapter, run: Run) -> PassTimes:
        self._known[run.cost_key] = PassTimes(seconds={1: 1.0, 2: 2.0})
        return super(Measured, self).learn(adapter, run)


def made_by(engine: Engine, job: GenerateSpec) -> tuple[list[Pixels], tuple[str, ...]]:
    ticket = submit(engine, job)
    run(engine, ticket)
    return ticket.result(), ticket.warnings


def assert_alike(pictures: list[Pixels], expected: list[Pixels]) -> None:
    np.testing.assert_allclose(np.asarray(pictures, dtype=int), np.asarray(expected, dtype=int), atol=1)


@pytest.mark.parametrize("make", FAMILIES)
def test_reproducible_job_has_fewer_rows_where_memory_is_short_and_says_so(make: Make) -> None:
    adapter, model, job = make(n=4, guidance_scale=1.0, reproducible=True)
    engine = make_engine(adapter, capacity=Measured())
    expected, warnings = made_by(engine, job)
    assert warnings == ()
    with memory_for(model, 2) as tried:
        pictures, warnings = made_by(engine, job)
    assert (tried[0], set(tried[1:])) == (4, {2})  # That it does not fit is remembered.
    assert_alike(pictures, expected)
    assert warnings == (SHORT,)
    with memory_for(model, 2):
        pictures, warnings = made_by(engine, job.model_copy(update={"reproducible": False}))
    assert_alike(pictures, expected)
    assert warnings == ()


def test_padding_is_less_where_memory_is_short() -> None:
    adapter, model, job = by_unet(n=1, guidance_scale=1.0, reproducible=True)
    engine = make_engine(adapter)
    warm(engine, job)
    with memory_for(model, 2) as tried:
        _, warnings = made_by(engine, job)
    assert (tried[0], set(tried[1:])) == (4, {2})
    assert warnings == (SHORT,)


@pytest.mark.parametrize("make", FAMILIES)
def test_reproducible_job_keeps_its_rows_where_fewer_were_measured_to_be_best(make: Make) -> None:
    adapter, model, job = make(n=4, guidance_scale=1.0, reproducible=True)
    expected, _ = made_by(make_engine(adapter, capacity=Measured()), job)
    with memory_for(model, 4) as tried:
        pictures, warnings = made_by(make_engine(adapter, capacity=FewRows()), job)
    assert set(tried) == {4}
    assert warnings == ()
    np.testing.assert_array_equal(pictures, expected)


def test_all_jobs_finish_where_a_pass_does_not_fit_and_half_of_it_does() -> None:
    adapter, model, _ = by_unet()
    jobs = [by_unet(seed=seed, guidance_scale=1.0 + seed % 2)[2] for seed in range(8)]
    engine = make_engine(adapter)
    warm(engine, jobs[0])
    expected = [submit(engine, job) for job in jobs]
    run(engine, *expected)
    with memory_for(model, 4) as tried:
        tickets = [submit(engine, job) for job in jobs]
        run(engine, *tickets)
    # The pass of 12 rows was tried with 12 and 6, the next ones with what fitted then.
    assert [rows for rows in tried if rows > 4] == [12, 6]
    for ticket, whole_pass in zip(tickets, expected, strict=True):
        assert_alike(ticket.result(), whole_pass.result())


def test_short_memory_is_remembered_for_the_jobs_that_come_later() -> None:
    adapter, model, job = by_unet(n=4)
    engine = make_engine(adapter)
    warm(engine, job)
    with memory_for(model, 4) as tried:
        for _ in range(2):
            pictures, _ = made_by(engine, job)
            assert len(pictures) == 4
    assert [rows for rows in tried if rows > 4] == [8]


def test_images_are_decoded_fewer_at_a_time_where_memory_is_short() -> None:
    adapter, _, job = by_unet(n=5)
    engine = make_engine(adapter)
    expected, _ = made_by(engine, job)
    with memory_for(adapter.pipeline.vae.decoder, 1) as tried:  # type: ignore[attr-defined]
        pictures, _ = made_by(engine, job)
    assert tried == [5, 2, 1, 1, 1, 1, 1]
    assert_alike(pictures, expected)
