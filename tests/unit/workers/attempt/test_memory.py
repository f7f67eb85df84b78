"""The memory of postprocessing: bounded, passed by what is small, and left by who is told to go."""

from __future__ import annotations

import threading

import pytest

from workers.attempt.memory import MemoryBudget

DEADLINE_S = 60.0


class Taker(threading.Thread):
    """Takes so many bytes, and keeps them until told."""

    def __init__(self, budget: MemoryBudget, size: int) -> None:
        super().__init__(daemon=True)
        self._budget, self._size = budget, size
        self.has, self._go, self.sent_away = threading.Event(), threading.Event(), threading.Event()
        self.reason: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            with self._budget.take(self._size, reason=lambda: self.reason):
                self.has.set()
                self._go.wait(DEADLINE_S)
        except InterruptedError:
            self.sent_away.set()

    def go(self) -> None:
        self._go.set()
        self.join(DEADLINE_S)


def test_what_does_not_fit_waits_and_what_is_small_passes_it() -> None:
    budget = MemoryBudget(100)
    first, large, small = Taker(budget, 60), Taker(budget, 60), Taker(budget, 40)
    holders = [each for each in (first, large) if each.has.wait(1.0)]  # Either may have come first.
    assert len(holders) == 1
    assert small.has.wait(DEADLINE_S)
    (holder,) = holders
    other = large if holder is first else first
    small.go()
    assert not other.has.is_set()
    holder.go()
    assert other.has.wait(DEADLINE_S)
    other.go()


def test_what_is_larger_than_all_goes_alone() -> None:
    budget = MemoryBudget(100)
    huge = Taker(budget, 1_000)
    assert huge.has.wait(DEADLINE_S)
    small = Taker(budget, 1)
    huge.go()
    assert small.has.wait(DEADLINE_S)
    small.go()


def test_who_waits_may_be_told_to_go() -> None:
    budget = MemoryBudget(10)
    with budget.take(10):
        waiting = Taker(budget, 5)
        waiting.reason = InterruptedError()
        budget.look_again()
        assert waiting.sent_away.wait(DEADLINE_S)


def test_a_failure_gives_its_memory_back() -> None:
    budget = MemoryBudget(10)
    with pytest.raises(ValueError, match="a bad picture"), budget.take(10):
        raise ValueError("a bad picture")
    with budget.take(10):
        pass


def test_what_is_given_back_early_is_there_for_others() -> None:
    budget = MemoryBudget(100)
    with budget.take(100) as taken:
        other = Taker(budget, 70)
        taken.keep(30)
        assert other.has.wait(DEADLINE_S)
        taken.keep(50)  # It has no more than it has.
        assert budget.used_bytes == 100
        other.go()
    assert budget.used_bytes == 0
