"""
Whether a series grows without an end.

Everything grows at first, and nothing stands still: caches fill, garbage is collected, logs are rewritten. So only the
second half is judged, by slopes that single values do not move (Theil and Sen: the median of the slopes of all pairs),
and what grows has to do so in three ways at once: over the half, in its last part still, and beyond what there ever was
in the second quarter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

MOST_SHARE_PER_HOUR = 0.05
LEAST_POINTS = 40

_HOUR_S = 3_600.0

Points = Sequence[tuple[float, float]]  # moments in seconds, in order, and values


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """
    Of one series.

    Attributes:
        median: Of the second half.
        per_hour: By how much it grows in an hour, over the second half.
        late_per_hour: The same over the last quarter.
        second_max, last_max: The most of the second and of the last quarter.
        is_growing: Whether that is growth without an end.
    """

    median: float
    per_hour: float
    late_per_hour: float
    second_max: float
    last_max: float
    is_growing: bool


def slope(points: Points) -> float:
    """Theil and Sen's, in a second."""
    slopes = [(later[1] - at[1]) / (later[0] - at[0]) for at, later in combinations(points, 2) if later[0] > at[0]]
    return median(slopes) if slopes else 0.0


def judge(points: Points, floor: float) -> Verdict:
    """
    Judge a series.

    Args:
        points: At least `LEAST_POINTS`.
        floor: What it may rise by over the second half without being looked at.

    Raises:
        ValueError: They are too few.
    """
    if len(points) < LEAST_POINTS:
        raise ValueError(f"{len(points)} points are too few to judge by; it takes {LEAST_POINTS}")
    quarter = len(points) // 4
    half, second, last = points[-2 * quarter :], points[quarter : 2 * quarter], points[-quarter:]
    middle = median(value for _, value in half)
    per_s, late_per_s = slope(half), slope(last)
    rise = per_s * (half[-1][0] - half[0][0])
    second_max, last_max = (max(value for _, value in some) for some in (second, last))
    most_per_s = MOST_SHARE_PER_HOUR * middle / _HOUR_S
    return Verdict(
        median=middle,
        per_hour=per_s * _HOUR_S,
        late_per_hour=late_per_s * _HOUR_S,
        second_max=second_max,
        last_max=last_max,
        is_growing=min(per_s, late_per_s) > most_per_s
        and rise > floor
        and last_max - second_max > max(floor, rise / 2),
    )
