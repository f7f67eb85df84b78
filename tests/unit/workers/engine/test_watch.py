"""The watch over device calls: which of them hang."""

from __future__ import annotations

from workers.engine.watch import Watch
from workers.families.simulated import VirtualClock


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
