"""The size of a pass follows from measured times, and from the memory that there turned out to be."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.forks import Fork
from tests.unit.workers import tiny
from tests.unit.workers.adapters import Wrapped, make_adapter
from workers.engine.adapter import OnStep
from workers.engine.capacity import WORTH_DOUBLING, Capacity, PassTimes, measure
from workers.families.family import PictureFamily
from workers.families.simulated import DeviceTimes, SimulatedModel, SimulatedRun, VirtualClock

ENTRY = tiny.model("simulated")
KEY = ("simulated", 16)  # Half octaves of 16×16 pixels.
ONE = SimulatedRun(tiny.spec(ENTRY, guidance_scale=1.0))
PASSES_UNTIL_RAISED = 500


def run_of(clock: VirtualClock, **times: float) -> tuple[SimulatedModel, SimulatedRun]:
    model = SimulatedModel(ENTRY, DeviceTimes(**{"launch_s": 0.0, "row_s": 0.0} | times), clock.sleep)
    return model, model.begin(tiny.spec(ENTRY, guidance_scale=1.0), None)


class Counted(Wrapped):
    passes = 0

    def predict(self, batch: Sequence[Any], max_rows: int, on_step: OnStep) -> list[Any]:
        self.passes += 1
        return super().predict(batch, max_rows, on_step)


class Small(Wrapped):
    """Has memory for so many rows."""

    def __init__(self, inner: Any, fits: int) -> None:
        super().__init__(inner)
        self._fits = fits

    def predict(self, batch: Sequence[Any], max_rows: int, on_step: OnStep) -> list[Any]:
        if max_rows > self._fits:
            raise torch.OutOfMemoryError("out of memory")
        return super().predict(batch, max_rows, on_step)


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 1.0}, 1),
        ({1: 1.0, 2: 1.0}, 2),
        ({1: 1.0, 2: 2.0}, 1),
        ({1: 1.0, 2: 1.1, 4: 1.3, 8: 2.4}, 4),
        ({2: 1.0, 4: 1.0, 8: 1.82}, 4),
        ({2: 1.0, 4: 1.0, 8: 1.80}, 8),
        ({1: 0.0, 2: 0.0, 4: 0.0}, 4),
    ],
)
def test_best_size_is_the_first_whose_doubling_gives_less_than_a_tenth_more(
    seconds: dict[int, float], best: int
) -> None:
    assert PassTimes(seconds=seconds).best_rows == best


@given(st.floats(0.0, 1.0), st.floats(0.0001, 0.1))
def test_measured_size_is_where_launching_stops_to_matter(launch_s: float, row_s: float) -> None:
    clock = VirtualClock()
    model, run = run_of(clock, launch_s=launch_s, row_s=row_s)
    best = measure(model, run, clock).best_rows

    def rows_per_s(rows: int) -> float:
        return rows / (launch_s + row_s * rows)

    assert best == 256 or rows_per_s(2 * best) < (WORTH_DOUBLING + 1e-6) * rows_per_s(best)
    assert best == 1 or rows_per_s(best) > (WORTH_DOUBLING - 1e-6) * rows_per_s(best // 2)


@given(flips_at=st.floats(0.0, 250.0), slower=st.sampled_from([0.7, 1.4]), launch_s=st.sampled_from([0.5, 1.0, 2.0]))
def test_machine_that_becomes_slower_or_faster_meanwhile_gets_the_same_size(
    flips_at: float, slower: float, launch_s: float
) -> None:
    def best_rows(flips_at: float) -> int:
        clock = VirtualClock()

        def sleep(seconds: float) -> None:
            clock.sleep(seconds * (slower if clock() > flips_at else 1.0))

        model = SimulatedModel(ENTRY, DeviceTimes(launch_s=launch_s, row_s=0.1), sleep)
        return measure(model, model.begin(tiny.spec(ENTRY, guidance_scale=1.0), None), clock).best_rows

    assert best_rows(flips_at) == best_rows(math.inf)


def test_a_row_costs_its_share_of_the_best_pass() -> None:
    assert PassTimes(seconds={1: 1.0, 2: 1.0, 4: 2.0}).seconds_per_row == 0.5


def test_measuring_ends_where_memory_does() -> None:
    clock = VirtualClock()
    model, run = run_of(clock, launch_s=1.0)
    assert measure(Small(model, 8), run, clock).best_rows == 8


def test_device_too_small_for_one_job_says_so() -> None:
    clock = VirtualClock()
    model, run = run_of(clock, launch_s=1.0)
    with pytest.raises(torch.OutOfMemoryError):
        measure(Small(model, 0), run, clock)


class Broken(Wrapped):
    """Fails with more than so many jobs in a pass."""

    def __init__(self, inner: PictureFamily[Any], most: int, error: Exception) -> None:
        super().__init__(inner)
        self._most, self._error = most, error

    def predict(self, batch: Sequence[Any], max_rows: int, on_step: OnStep) -> list[Any]:
        if len(batch) > self._most:
            raise self._error
        return super().predict(batch, max_rows, on_step)


@pytest.mark.parametrize("most", [1, 2])
def test_pass_that_fails_with_more_rows_has_no_more(most: int) -> None:
    clock = VirtualClock()
    model, run = run_of(clock, launch_s=1.0)
    assert measure(Broken(model, most, ZeroDivisionError()), run, clock).best_rows == most


def test_error_with_one_job_is_that_jobs() -> None:
    clock = VirtualClock()
    model, run = run_of(clock, launch_s=1.0)
    with pytest.raises(ZeroDivisionError):
        measure(Broken(model, 0, ZeroDivisionError()), run, clock)


def test_device_that_is_lost_while_measuring_is_not_taken_for_a_size() -> None:
    clock = VirtualClock()
    model, run = run_of(clock, launch_s=1.0)
    with pytest.raises(torch.AcceleratorError):
        measure(Broken(model, 2, torch.AcceleratorError("an illegal memory access")), run, clock)


def test_reproducible_job_does_not_set_the_size_for_all() -> None:
    adapter = make_adapter("stable-diffusion")
    clock = VirtualClock()
    hook = adapter.pipeline.unet.register_forward_pre_hook(lambda _unet, args: clock.sleep(max(len(args[0]), 16)))
    try:
        job = tiny.spec(adapter.entry, scheduler="ddim", reproducible=True)
        assert measure(adapter, adapter.begin(job, adapter.encode([job])[0]), clock).best_rows == 16
    finally:
        hook.remove()


# The file


def test_measured_once_for_each_device_and_key(tmp_path: Path) -> None:
    clock = VirtualClock()
    model, run = run_of(clock, launch_s=1.0, row_s=0.125)
    counted = Counted(model)
    file = tmp_path / "deep" / "sizes.json"
    first = Capacity(file, "a device", clock).learn(counted, run)
    measured = counted.passes
    assert measured > 0

    again = Capacity(file, "a device", clock)
    assert again.learn(counted, run) == first
    assert again.learn(counted, run) == first
    assert again.max_rows(ONE) == first.best_rows
    assert counted.passes == measured
    Capacity(file, "another device", clock).learn(counted, run)
    assert counted.passes == 2 * measured


def test_sizes_that_cost_about_the_same_are_measured_once() -> None:
    clock = VirtualClock()
    model, _ = run_of(clock, launch_s=1.0, row_s=0.125)
    counted = Counted(model)
    capacity = Capacity(clock=clock)
    sides = range(64, 257, 8)
    runs = [model.begin(tiny.spec(ENTRY, width=width, height=height), None) for width in sides for height in sides]
    assert len({run.share_key for run in runs}) == 625
    for run in runs:
        capacity.learn(counted, run)
    one = Counted(model)
    Capacity(clock=clock).learn(one, runs[0])
    assert counted.passes == 9 * one.passes  # From 64×64 to 256×256, sixteen times as many pixels: 8 half octaves.


def test_processes_that_measure_at_once_keep_all_that_they_measured(tmp_path: Path) -> None:
    file = tmp_path / "sizes.json"

    def keep(name: str) -> None:
        capacity = Capacity(file)
        for n in range(50):
            capacity._write(f"{name} {n}", PassTimes(seconds={1: 1.0}))

    writers = [Fork(partial(keep, name)) for name in "ab"]
    assert [writer.result() for writer in writers] == [None, None]
    assert set(json.loads(file.read_text())) == {f"{name} {n}" for name in "ab" for n in range(50)}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[1]", "7", "null", '"text"', "\udcff", '{"a device KEY 1": 5}', '{"a device KEY 1": {"x": 1}}',
                '{"a device KEY 1": {"4": "fast"}}', '{"a device KEY 1": {}}', '{"a device KEY 1": [4]}'],
)  # fmt: skip
def test_broken_file_is_measured_anew(tmp_path: Path, content: str) -> None:
    file = tmp_path / "sizes.json"
    file.write_bytes(content.replace("KEY", str(KEY)).encode("utf-8", "surrogateescape"))
    clock = VirtualClock()
    model, run = run_of(clock, launch_s=1.0, row_s=0.125)
    times = Capacity(file, "a device", clock).learn(model, run)
    assert times == measure(model, run, clock)
    assert json.loads(file.read_text())[f"a device {KEY} 1"] == {str(rows): s for rows, s in times.seconds.items()}


def test_file_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    in_the_way = tmp_path / "a file"
    in_the_way.write_text("")
    clock = VirtualClock()
    model, run = run_of(clock, launch_s=1.0)
    capacity = Capacity(in_the_way / "sizes.json", "a device", clock)
    capacity.learn(model, run)
    assert capacity.max_rows(ONE) == 256


# Memory


@pytest.fixture
def capacity() -> Capacity:
    """Knows that 256 rows are best."""
    clock = VirtualClock()
    model, run = run_of(clock, launch_s=1.0)
    capacity = Capacity(clock=clock)
    capacity.learn(model, run)
    return capacity


def test_rows_that_did_not_fit_are_not_tried_again_at_once(capacity: Capacity) -> None:
    capacity.note_pass(ONE, requested_rows=256, fitting_rows=8)
    for _ in range(PASSES_UNTIL_RAISED - 1):
        capacity.note_pass(ONE, requested_rows=8, fitting_rows=8)
        assert capacity.max_rows(ONE) == 8


def test_more_rows_are_tried_after_a_while_up_to_the_best(capacity: Capacity) -> None:
    capacity.note_pass(ONE, requested_rows=256, fitting_rows=64)
    seen = []
    for _ in range(4 * PASSES_UNTIL_RAISED):
        rows = capacity.max_rows(ONE)
        seen.append(rows)
        capacity.note_pass(ONE, requested_rows=rows, fitting_rows=rows)
    assert sorted(set(seen)) == [64, 128, 256]


def test_ceiling_of_one_key_is_none_of_another(capacity: Capacity) -> None:
    clock = VirtualClock()
    model = SimulatedModel(ENTRY, DeviceTimes(launch_s=1.0, row_s=0.0), clock.sleep)
    wide = model.begin(tiny.spec(ENTRY, width=64), None)
    capacity.learn(model, wide)
    capacity.note_pass(ONE, requested_rows=256, fitting_rows=4)
    assert capacity.max_rows(wide) == 256
