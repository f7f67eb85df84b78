"""How the engine's policy fares against the two usual ones, on a device whose T(B) is set. All times are virtual."""

from __future__ import annotations

import random

import pytest

from jobs.kinds.generate import GenerateSpec
from tests.unit.workers import tiny
from workers.bench.streams.simulation import (
    Arrival,
    MakeModel,
    Outcome,
    poisson_arrivals,
    run_engine,
    run_one_at_a_time,
    run_request_batches,
    simulated,
)
from workers.engine.order import PATIENCE_FACTOR, PATIENCE_S
from workers.families.simulated import DeviceTimes

ENTRY = tiny.model("simulated")
LAUNCH_BOUND = DeviceTimes(launch_s=0.02, row_s=0.001)
SATURATED = DeviceTimes(launch_s=0.0, row_s=0.01)
STEPS = (4, 12, 30)
SEEDS = (0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 5)))
MAX_ROWS = 32


def on(times: DeviceTimes) -> MakeModel:
    return simulated(ENTRY, times)


def a_job(steps: int, **fields: object) -> GenerateSpec:
    return tiny.spec(ENTRY, num_inference_steps=steps, **{"guidance_scale": 3.0, **fields})


def mixed(numbers: random.Random, index: int) -> GenerateSpec:
    return a_job(numbers.choice(STEPS), seed=index)


def stream(times: DeviceTimes, load: float, seed: int, count: int = 300) -> list[Arrival]:
    """A Poisson stream at a share of what one at a time can do."""
    mean_s = sum(STEPS) / len(STEPS) * (times.launch_s + 2 * times.row_s)
    return poisson_arrivals(load / mean_s, count, mixed, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("load", [0.8, 1.5, 4.0])
def test_launch_bound_stream_is_served_sooner_than_by_either_baseline(load: float, seed: int) -> None:
    arrivals = stream(LAUNCH_BOUND, load, seed)
    engine = run_engine(arrivals, on(LAUNCH_BOUND))
    one = run_one_at_a_time(arrivals, on(LAUNCH_BOUND))
    batches = run_request_batches(arrivals, on(LAUNCH_BOUND), MAX_ROWS)
    assert engine.p95_s <= 0.5 * one.p95_s
    assert engine.p95_s < batches.p95_s
    assert engine.images_per_s >= batches.images_per_s * (1 if load > 1 else 0.99)
    assert engine.images_per_s >= one.images_per_s


@pytest.mark.parametrize("seed", SEEDS)
def test_launch_bound_backlog_gives_more_images_a_second_than_either_baseline(seed: int) -> None:
    arrivals = [Arrival(at_s=0.0, spec=arrival.spec) for arrival in stream(LAUNCH_BOUND, 1.0, seed)]
    engine = run_engine(arrivals, on(LAUNCH_BOUND))
    assert engine.images_per_s > 2 * run_one_at_a_time(arrivals, on(LAUNCH_BOUND)).images_per_s
    assert engine.images_per_s > run_request_batches(arrivals, on(LAUNCH_BOUND), MAX_ROWS).images_per_s


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("load", [0.5, 0.8, 0.95, 1.2])
def test_saturated_mean_latency_is_no_worse_than_first_come_first_served(load: float, seed: int) -> None:
    arrivals = stream(SATURATED, load, seed)
    engine = run_engine(arrivals, on(SATURATED))
    assert engine.mean_s <= 1.05 * run_one_at_a_time(arrivals, on(SATURATED)).mean_s


@pytest.mark.parametrize("load", [0.8, 1.2])
def test_saturated_equal_jobs_are_served_as_they_come(load: float) -> None:
    arrivals = poisson_arrivals(load / (12 * 0.02), 300, lambda _numbers, index: a_job(12, seed=index), 1)
    engine = run_engine(arrivals, on(SATURATED))
    assert engine.latencies_s == pytest.approx(run_one_at_a_time(arrivals, on(SATURATED)).latencies_s, abs=0.05)


@pytest.mark.parametrize("times", [SATURATED, LAUNCH_BOUND])
@pytest.mark.parametrize("load", [0.95, 1.5, 3.0])
def test_long_job_is_not_starved_by_an_endless_stream_of_short_ones(times: DeviceTimes, load: float) -> None:
    """
    The bound on waiting: its patience, then the work of those who were there before it, then its own passes.

    Once it is overdue only older jobs go before it, and here there are none, so every pass from then on is its.
    """
    steps, short_steps = 50, 4
    work_s = steps * (times.launch_s + 2 * times.row_s)
    # Saturated, a pass has one job; else it may have others beside it.
    pass_s = 2 * times.row_s if times is SATURATED else times.launch_s + 256 * times.row_s
    bound_s = PATIENCE_S + PATIENCE_FACTOR * work_s + (steps + 2) * pass_s
    rate_per_s = load / (short_steps * (times.launch_s + 2 * times.row_s))
    count = int(1.2 * bound_s * rate_per_s)
    short = poisson_arrivals(rate_per_s, count, lambda _numbers, index: a_job(short_steps, seed=index), 1)
    assert short[-1].at_s > bound_s
    outcome = run_engine([Arrival(at_s=0.0, spec=a_job(steps)), *short], on(times))
    assert outcome.latencies_s[0] <= bound_s
    if times is SATURATED and load > 1:  # It did have to wait.
        assert outcome.latencies_s[0] > PATIENCE_FACTOR * work_s


def test_saturated_stream_starves_nobody() -> None:
    """The worst wait of a mixed stream that is more than the device can do stays near first come, first served."""
    arrivals = stream(SATURATED, 1.2, 1)
    engine, fair = run_engine(arrivals, on(SATURATED)), run_one_at_a_time(arrivals, on(SATURATED))
    longest_s = max(STEPS) * 2 * SATURATED.row_s
    assert max(engine.latencies_s) <= max(fair.latencies_s) + PATIENCE_S + (PATIENCE_FACTOR + 1) * longest_s


def test_equal_streams_have_equal_outcomes() -> None:
    one, again = (run_engine(stream(LAUNCH_BOUND, 0.8, 1), on(LAUNCH_BOUND)) for _ in range(2))
    assert one == again


# The baselines themselves, by hand.


def test_one_at_a_time_takes_the_time_of_each_in_turn() -> None:
    times = DeviceTimes(launch_s=1.0, row_s=0.5, encode_s=0.25, decode_s=0.125)
    arrivals = [Arrival(at_s=0.0, spec=a_job(2)), Arrival(at_s=100.0, spec=a_job(1)), Arrival(at_s=1.0, spec=a_job(1))]
    outcome = run_one_at_a_time(arrivals, on(times))
    assert outcome.latencies_s == [4.375, 2.375, 4.375 - 1.0 + 2.375]
    assert outcome.makespan_s == 102.375
    assert outcome.images_per_s == 3 / 102.375


def test_request_batch_waits_for_its_longest_and_lets_nobody_join() -> None:
    times = DeviceTimes(launch_s=1.0, row_s=0.5)
    arrivals = [
        Arrival(at_s=0.0, spec=a_job(1)),
        Arrival(at_s=0.5, spec=a_job(3)),
        Arrival(at_s=0.5, spec=a_job(1)),
        Arrival(at_s=0.5, spec=a_job(1, width=64)),
        Arrival(at_s=2.5, spec=a_job(1)),
    ]
    outcome = run_request_batches(arrivals, on(times), max_rows=4)
    # 2 s for the first alone, then a pass of 4 rows (3 s) and two of 2 (2 s each), for both of them; then the other
    # size, then the one that came meanwhile.
    assert outcome.latencies_s == [2.0, 8.5, 8.5, 10.5, 10.5]


def test_request_batch_has_those_alone_that_are_alike_and_as_many_rows_as_fit() -> None:
    times = DeviceTimes(launch_s=1.0, row_s=0.5)
    jobs = [a_job(2), a_job(1), a_job(2, seed=1), a_job(2, guidance_scale=1.0), a_job(2, seed=2)]
    arrivals = [Arrival(at_s=0.0, spec=job) for job in jobs]
    outcome = run_request_batches(arrivals, on(times), max_rows=5, alike=GenerateSpec.share)
    # First and third: 2 passes of 4 rows, 6 s; the second alone, 2 s; that without guidance, 3 s; the last, 4 s.
    assert outcome.latencies_s == [6.0, 8.0, 6.0, 11.0, 15.0]


def test_request_batch_counts_the_rows_of_each_job_and_encodes_each_once() -> None:
    times = DeviceTimes(launch_s=1.0, row_s=0.5, encode_s=0.125)
    jobs = [a_job(1, guidance_scale=scale) for scale in (1.0, 3.0, 3.0)]  # One row, two, two.
    outcome = run_request_batches([Arrival(at_s=0.0, spec=job) for job in jobs], on(times), max_rows=4)
    assert outcome.latencies_s == [0.375 + 2.5, 0.375 + 2.5, 0.375 + 2.5 + 2.0]


def test_engine_serves_one_job_in_its_own_time() -> None:
    times = DeviceTimes(launch_s=1.0, row_s=0.5, encode_s=0.25, decode_s=0.125)
    assert run_engine([Arrival(at_s=3.0, spec=a_job(2))], on(times)).latencies_s == [4.375]


def test_figures_of_an_outcome() -> None:
    outcome = Outcome(latencies_s=[float(n) for n in range(1, 21)], makespan_s=10.0, images=40)
    assert (outcome.images_per_s, outcome.mean_s, outcome.p50_s, outcome.p95_s) == (4.0, 10.5, 10.0, 19.0)
