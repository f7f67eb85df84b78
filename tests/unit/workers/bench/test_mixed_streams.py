"""Mixed streams on tiny families, on devices whose T(B) is set: what runs is the engine, all times are virtual."""

from __future__ import annotations

import pytest

from workers.bench.streams.mixed import (
    STEPS,
    TEXTS,
    capacity,
    compete,
    launch_bound,
    mixed_arrivals,
    mixed_jobs,
    rows_of_a_pass,
    saturated,
)
from workers.bench.streams.simulation import Outcome
from workers.bench.streams.timed_model import KnownJobs, PassSeconds, TimedModel, between
from workers.bench.streams.ways import BATCHED, SINGLY, STEPWISE, UNLIKE
from workers.bench.tiny_families import NAMES, measured_passes, open_family
from workers.families.simulated import VirtualClock

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # numpy's, of schedulers

ROW_S = 0.005
LOAD = 0.8
ALL = [name if name == "z-image" else pytest.param(name, marks=pytest.mark.long) for name in NAMES]


def serve(name: str, pass_s: PassSeconds, count: int) -> dict[str, Outcome]:
    family = open_family(name)
    known, jobs = KnownJobs(family), mixed_jobs(family.entry)
    rows = rows_of_a_pass(known, jobs, pass_s)
    arrivals = mixed_arrivals(jobs, LOAD * capacity(known, jobs, pass_s, rows), count, seed=0)
    return compete(known, arrivals, pass_s, rows)


@pytest.mark.parametrize("name", ALL)
def test_launch_bound_p95_is_at_most_half_of_request_batching(name: str) -> None:
    # Without guidance there are half as many sorts of requests, and it takes longer until their queues are long.
    count = 500 if name == "z-image" else 2_000
    outcomes = serve(name, launch_bound(ROW_S), count)
    assert outcomes[STEPWISE].p95_s <= 0.5 * outcomes[BATCHED].p95_s
    assert outcomes[STEPWISE].p95_s < outcomes[UNLIKE].p95_s < outcomes[SINGLY].p95_s
    assert outcomes[STEPWISE].images_per_s > outcomes[BATCHED].images_per_s


@pytest.mark.parametrize("name", ALL)
def test_saturated_mean_is_not_above_first_come_first_served(name: str) -> None:
    outcomes = serve(name, saturated(ROW_S), 300)
    assert outcomes[STEPWISE].mean_s <= outcomes[SINGLY].mean_s


def test_equal_streams_have_equal_outcomes() -> None:
    assert serve("z-image", launch_bound(ROW_S), 50) == serve("z-image", launch_bound(ROW_S), 50)


@pytest.mark.parametrize("name", ALL)
def test_jobs_are_what_the_model_says_of_them(name: str) -> None:
    family = open_family(name)
    known, jobs = KnownJobs(family), mixed_jobs(family.entry)
    runs = [known.begin(job) for job in jobs]
    assert {(run.passes_left, job.prompt) for run, job in zip(runs, jobs, strict=True)} == {
        (steps, text) for steps in STEPS for text in TEXTS
    }
    assert {run.rows for run in runs} == ({1, 2} if family.entry.how_guided == "true" else {1})
    assert len({run.share_key for run in runs}) == 1  # Whatever the text, guidance and steps are.


def test_each_sort_of_jobs_is_begun_once() -> None:
    family = open_family("z-image")
    known, (first, *others) = KnownJobs(family), mixed_jobs(family.entry)
    assert known.begin(first.model_copy(update={"seed": 1})) is known.begin(first)
    assert all(known.begin(other) is not known.begin(first) for other in others)


def test_pass_takes_what_the_device_says_and_moves_each_job_by_one() -> None:
    family, clock = open_family("z-image"), VirtualClock()
    model = TimedModel(KnownJobs(family), {3: 1.0, 4: 10.0, 7: 100.0}.__getitem__, clock.sleep)
    jobs = mixed_jobs(family.entry)
    runs = [model.begin(job, None) for job in (jobs[0], *jobs[3:6])]  # One row, and two each of three jobs.
    model.predict(runs, 7, lambda _step: None)
    assert clock.now_s == 100.0
    model.predict(runs, 4, lambda _step: None)  # Two forwards, of about equal size.
    assert clock.now_s == 111.0
    runs[0].advance(None)
    assert [(run.step, run.passes_left) for run in runs] == [(1, 3), (0, 4), (0, 4), (0, 4)]


def test_time_between_measured_passes_is_on_a_line_and_goes_on_behind_them() -> None:
    pass_s = between({1: 1.0, 2: 3.0, 4: 4.0})
    assert [pass_s(rows) for rows in (1, 2, 3, 4, 6)] == [1.0, 3.0, 3.5, 4.0, 5.0]


def test_capacity_is_that_of_full_passes() -> None:
    family = open_family("z-image")
    known, jobs = KnownJobs(family), mixed_jobs(family.entry)
    unguided, guided = jobs[0], jobs[3]  # 4 passes, of one row and of two: 6 rows on average.
    assert capacity(known, [unguided, guided], lambda rows: 0.5 * rows + 2.0, 8) == pytest.approx(8 / 6.0 / 6)


def test_passes_of_a_real_model_are_timed() -> None:
    family = open_family("z-image")
    measured = measured_passes(family, mixed_jobs(family.entry)[0], (1, 2))
    assert list(measured) == [1, 2]
    assert all(seconds > 0 for seconds in measured.values())
