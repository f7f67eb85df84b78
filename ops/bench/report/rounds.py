"""Measuring side by side: everybody in turn, round by round, so that what a machine does meanwhile falls on all."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

R = TypeVar("R")

LEAST_BUNCHES = 8  # for `sustained_rate`


def alternate(contenders: Mapping[str, Callable[[int], R]], rounds: int, console: Console) -> dict[str, list[R]]:
    """
    Call each contender once in each round, with the round's number: A B A B …

    Returns:
        What each returned, by round.
    """
    results: dict[str, list[R]] = {name: [] for name in contenders}
    turns = [(number, name) for number in range(rounds) for name in contenders]
    for number, name in track(turns, "measuring", console=console, transient=True):
        results[name].append(contenders[name](number))
    return results


def median_ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the ratios within each round."""
    return statistics.median(above / below for above, below in zip(over, under, strict=True))


def sustained_rate(finished_at: Sequence[float], bunch: int) -> float:
    """
    Jobs per second while there was always enough to do.

    Jobs that share passes finish in bunches, so that a count between any two times hangs on where in a bunch they
    fall. This one begins and ends behind a bunch, which is where the next job takes longest to come.

    Args:
        finished_at: When each job was done, in seconds, in any order.
        bunch: How many share passes; the first and last two bunches do not count.
    """
    if len(finished_at) < LEAST_BUNCHES * bunch:
        raise ValueError(f"{len(finished_at)} jobs are too few where {bunch} finish together")
    at = sorted(finished_at)

    def end_of_bunch(first: int) -> int:
        return max(range(first, first + bunch), key=lambda index: at[index + 1] - at[index])

    start, end = end_of_bunch(2 * bunch), end_of_bunch(len(at) - 3 * bunch - 1)
    return (end - start) / (at[end] - at[start])
