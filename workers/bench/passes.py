"""T(B): how long a pass takes by the number of its rows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from workers.engine.adapter import Adapter, Denoising
from workers.engine.errors import is_out_of_memory


def pass_seconds(
    adapter: Adapter[Any], denoising: Denoising, counts: Sequence[int], clock: Callable[[], float], tries: int = 5
) -> dict[int, float]:
    """
    Time passes of several sizes, one after the other in each of `tries` rounds.

    Args:
        denoising: The job that passes are made of.
        counts: How many of it each pass has, ascending; it ends where memory does.
        clock: Seconds, read when the device is done.

    Returns:
        The median by rows.
    """
    took: dict[int, list[float]] = {}
    for attempt in range(tries + 1):
        for count in counts:
            rows = count * denoising.rows
            if attempt and rows not in took:
                break
            try:
                seconds = _pass(adapter, denoising, count, clock)
            except Exception as exc:
                if is_out_of_memory(exc) and took:
                    break
                raise
            took.setdefault(rows, []).append(seconds)
    return {rows: statistics.median(seconds[1:]) for rows, seconds in took.items()}  # The first warms up.


def _pass(adapter: Adapter[Any], denoising: Denoising, count: int, clock: Callable[[], float]) -> float:
    started = clock()
    adapter.predict([denoising] * count, count * denoising.rows, lambda _step: None)
    return clock() - started
