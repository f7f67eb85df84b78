"""The watch over device calls: which of them hang."""

from __future__ import annotations

from tests.unit.workers import tiny
from tests.unit.workers.adapters import run, submit
from workers.engine.capacity import Capacity
from workers.engine.engine import Engine
from workers.engine.watch import Watch
from workers.families.simulated import DeviceTimes, SimulatedModel, VirtualClock


def test_call_is_overdue_after_the_time_that_it_may_take() -> None:
    clock = VirtualClock()
    watch = Watch(60, clock)
    with watch.call("denoise"):
        clock.sleep(60)
        assert watch.overdue_s(clock()) is None
        clock.sleep(1)
        assert watch.overdue_s(clock()) == 61
    assert watch.overdue_s(clock()) is None


def test_slow_device_gets_ten_times_what_was_measured() -> None:
    clock = VirtualClock()
    watch = Watch(60, clock)
    with watch.call("denoise", measured_s=30):
        clock.sleep(300)
        assert watch.overdue_s(clock()) is None
        clock.sleep(1)
        assert watch.overdue_s(clock()) == 301


def test_being_idle_is_healthy() -> None:
    clock = VirtualClock()
    watch = Watch(60, clock)
    clock.sleep(10_000)
    assert watch.overdue_s(clock()) is None


def test_call_that_is_many_in_one_may_take_the_time_for_each() -> None:
    clock = VirtualClock()
    watch = Watch(60, clock)
    with watch.call("denoise"):
        for _ in range(10):
            clock.sleep(50)
            watch.touch("denoise")
            watch.touch("decode")
        assert watch.overdue_s(clock()) is None
        clock.sleep(61)
        assert watch.overdue_s(clock()) == 61


def test_longest_of_several_lanes_is_told() -> None:
    clock = VirtualClock()
    watch = Watch(60, clock)
    with watch.call("encode"):
        clock.sleep(10)
        with watch.call("decode"):
            clock.sleep(61)
            assert watch.overdue_s(clock()) == 71
        assert watch.overdue_s(clock()) == 71


def test_call_that_raises_is_over() -> None:
    clock = VirtualClock()
    watch = Watch(60, clock)
    try:
        with watch.call("denoise"):
            raise RuntimeError
    except RuntimeError:
        clock.sleep(100)
    assert watch.overdue_s(clock()) is None


def test_several_calls_in_a_row_get_the_time_of_each() -> None:
    clock = VirtualClock()
    watch = Watch(60, clock)
    with watch.call("decode", calls=3):
        clock.sleep(180)
        assert watch.overdue_s(clock()) is None
        clock.sleep(1)
        assert watch.overdue_s(clock()) == 181


def test_large_job_is_not_overdue_while_each_of_its_forwards_is_healthy() -> None:
    clock = VirtualClock()
    overdue: list[float | None] = []

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        overdue.append(engine.stuck_s(clock()))

    entry = tiny.model("simulated")
    model = SimulatedModel(entry, DeviceTimes(launch_s=0.0, row_s=2.0, decode_s=5.0), sleep)
    engine = Engine({entry.name: model}, Capacity(clock=clock), clock=clock, watch=Watch(6, clock))
    jobs = [tiny.spec(entry, n=16, guidance_scale=2.0, reproducible=choice) for choice in (False, True)]
    run(engine, *[submit(engine, job) for job in jobs])
    assert set(overdue) == {None}
    assert clock() > 2 * 16 * 5.0
