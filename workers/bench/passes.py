"""T(B): how long a pass takes by the number of its rows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from workers.engine.adapter import AnyAdapter
from workers.engine.errors import is_out_of_memory
from workers.engine.run import Run


def pass_seconds(
    adapter: AnyAdapter, run: Run, counts: Sequence[int], clock: Callable[[], float], tries: int = 5
) -> dict[int, float]:
    """
    Time passes of several sizes, one after the other in each of `tries` rounds.

    Args:
        run: The job that passes are made of.
        counts: How many of it each pass has, ascending; it ends where memory does.
        clock: Seconds, read when the device is done.

    Returns:
        The median by rows.
    """
    took: dict[int, list[float]] = {}
    for attempt in range(tries + 1):
        for count in counts:
            rows = count * run.rows
            if attempt and rows not in took:
                break
            try:
                seconds = _pass(adapter, run, count, clock)
            except Exception as exc:
                if is_out_of_memory(exc) and took:
                    break
                raise
            took.setdefault(rows, []).append(seconds)
    return {rows: statistics.median(seconds[1:]) for rows, seconds in took.items()}  # The first warms up.


def _pass(adapter: AnyAdapter, run: Run, count: int, clock: Callable[[], float]) -> float:
    started = clock()
    adapter.predict([run] * count, count * run.rows, lambda _step: None)
    return clock() - started
