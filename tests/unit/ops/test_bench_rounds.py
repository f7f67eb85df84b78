"""The arithmetic of benchmarks: medians of ratios, rates of jobs that finish in bunches, who is measured when."""

from __future__ import annotations

import pytest
from rich.console import Console

from ops.bench.report.rounds import LEAST_BUNCHES, alternate, median_ratio, sustained_rate


def test_contenders_take_turns_in_each_round() -> None:
    calls: list[tuple[str, int]] = []
    ways = {name: lambda number, name=name: calls.append((name, number)) for name in "AB"}
    alternate(ways, 2, Console(quiet=True))
    assert calls == [("A", 0), ("B", 0), ("A", 1), ("B", 1)]


def test_ratio_is_the_median_within_rounds_and_not_that_of_medians() -> None:
    slow_round_for_both = [2.0, 20.0, 300.0]
    assert median_ratio(slow_round_for_both, [1.0, 20.0, 100.0]) == 2.0
    assert median_ratio([1.0, 9.0], [1.0, 3.0]) == 2.0


def test_rate_of_jobs_that_finish_evenly() -> None:
    assert sustained_rate([0.5 * index for index in range(100)], 4) == pytest.approx(2.0)


@pytest.mark.parametrize("count", range(80, 96))
def test_rate_of_jobs_in_bunches_does_not_hang_on_where_a_bunch_is_cut(count: int) -> None:
    bunches_of_eight_every_four_seconds = [4.0 * (index // 8) + 0.001 * (index % 8) for index in range(count)]
    assert sustained_rate(bunches_of_eight_every_four_seconds, 8) == pytest.approx(2.0, rel=1e-3)


def test_order_of_finishing_times_does_not_matter() -> None:
    times = [0.25 * index for index in range(64)]
    assert sustained_rate(times[::-1], 4) == sustained_rate(times, 4)


def test_start_and_end_do_not_count() -> None:
    busy = [10 + 0.1 * index for index in range(100)]
    slow_start, slow_end = [0.0, 5.0], [40.0, 60.0]
    assert sustained_rate([*slow_start, *busy, *slow_end], 4) == pytest.approx(10.0)


def test_too_few_jobs_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        sustained_rate([float(index) for index in range(LEAST_BUNCHES * 8 - 1)], 8)
