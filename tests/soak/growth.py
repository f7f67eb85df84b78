"""
Whether a series grows without an end.

Everything grows at first, and nothing stands still: caches fill, garbage is collected, logs are rewritten, and what is
done to the system comes in rounds, so that every series goes up and down with these. So rounds are compared with
rounds, and the first is not judged. What a series has in a round are its levels: its first and last decile, and its
quartiles. Whatever shape it has in a round, if as much as a tenth of it rises from round to round, then one of these
does. Of what is shorter, how much of it was seen is chance.

A level grows if it does so in three ways at once: in a trend that is not chance (Mann and Kendall's test), by how much
in an hour (Sen's slope), and in the last rounds still. It has to rise beyond a floor, too. What begins in the last
round is not seen: it may be a step, after which nothing comes.

H. B. Mann, "Nonparametric tests against trend", Econometrica 13 (1945); M. G. Kendall, "Rank Correlation Methods";
P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63 (1968).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import median
from typing import NamedTuple

MOST_SHARE_PER_HOUR = 0.05
LEAST_ROUNDS = 6  # Of five that are judged, chance puts all in order once in 120 times; of four, once in 24.
LEAST_POINTS = 20  # in a round

_HOUR_S = 3_600.0
_SURE = 2.2  # standard deviations, on one side: chance does it once in a hundred times; of five all are in order
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of the values of a round
_LATE_SHARE, _LATE_ROUNDS = 4, 2  # The last quarter of the rounds, but two at least.

Points = Sequence[tuple[float, float]]  # moments in seconds, in order, and values


class Levels(NamedTuple):
    """What a series has in a round: the values that a tenth, a quarter, … of its values are below."""

    low: float
    lower: float
    median: float
    upper: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """
    Of one level, from round to round.

    Attributes:
        per_hour: By how much it grows in an hour, over the rounds that are judged.
        late_per_hour: The same over the last of them.
        is_growing: Whether that is growth without an end.
    """

    per_hour: float
    late_per_hour: float
    is_growing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """
    Of one series.

    Attributes:
        rounds: What it had in each whole round, the first too.
        trends: Of each level, by its name.
    """

    rounds: Sequence[Levels]
    trends: Mapping[str, Trend]

    @property
    def growing(self) -> list[str]:
        """Levels that grow without an end."""
        return [name for name, trend in self.trends.items() if trend.is_growing]

    @property
    def is_growing(self) -> bool:
        """Whether any does."""
        return bool(self.growing)


def slope(points: Points) -> float:
    """Sen's, in a second: the median of the slopes of all pairs, which single values do not move."""
    slopes = [(later[1] - at[1]) / (later[0] - at[0]) for at, later in combinations(points, 2) if later[0] > at[0]]
    return median(slopes) if slopes else 0.0


def is_trend(values: Sequence[float]) -> bool:
    """
    Whether they rise by more than chance: Mann and Kendall's test, with the continuity correction.

    What stays the same counts as rising, so that what begins late is seen; whether it rises at all the slope says.
    """
    count = len(values)
    score = sum(1 if later >= value else -1 for value, later in combinations(values, 2))
    return score - 1 >= _SURE * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)


def levels(points: Points, rounds: Sequence[float]) -> Iterator[tuple[float, Levels]]:
    """
    Of each whole round that has `LEAST_POINTS`, with the moment of its middle.

    Args:
        points: A series.
        rounds: When each round began, in order; the last one has no end and is none.
    """
    moments = [at for at, _ in points]
    for begin, end in pairwise(rounds):
        values = sorted(value for _, value in points[bisect_left(moments, begin) : bisect_left(moments, end)])
        if (count := len(values)) >= LEAST_POINTS:
            yield (begin + end) / 2, Levels(*(values[round(share * (count - 1))] for share in _SHARES))


def judge(points: Points, rounds: Sequence[float], floor: float) -> Verdict:
    """
    Judge a series.

    Args:
        points: At least `LEAST_POINTS` in each of `LEAST_ROUNDS`.
        rounds: When each round began, in order; the last one has no end and is not judged.
        floor: What a level may rise by over the rounds that are judged without being looked at.

    Raises:
        ValueError: They are too few.
    """
    found = list(levels(points, rounds))
    if len(found) < LEAST_ROUNDS:
        raise ValueError(f"{len(found)} whole rounds are too few to judge by; it takes {LEAST_ROUNDS}")
    judged = found[1:]
    trends = {name: _trend([(at, getattr(each, name)) for at, each in judged], floor) for name in Levels._fields}
    return Verdict(rounds=[each for _, each in found], trends=trends)


def _trend(points: Points, floor: float) -> Trend:
    late = max(len(points) // _LATE_SHARE, _LATE_ROUNDS)
    per_s, late_per_s = slope(points), slope(points[-late:])
    most_per_s = MOST_SHARE_PER_HOUR * median(abs(value) for _, value in points) / _HOUR_S
    return Trend(
        per_hour=per_s * _HOUR_S,
        late_per_hour=late_per_s * _HOUR_S,
        is_growing=is_trend([value for _, value in points])
        and min(per_s, late_per_s) > most_per_s
        and per_s * (points[-1][0] - points[0][0]) > floor,
    )
