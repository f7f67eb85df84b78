"""
Whose turn it is: which jobs share the next pass.

The shortest remaining work goes first, which gives the least mean time in the system (Schrage 1968). A job that has
been here for many times as long as its own work goes before all, oldest first, so that a stream of short ones cannot
hold it up for ever; when everybody is overdue, this is first come, first served.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from workers.engine.run import Run
from workers.engine.ticket import Ticket

PATIENCE_S = 1.0
PATIENCE_FACTOR = 8.0  # times the job's own work alone on the device


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Active:
    """A job that has begun. `since` by the engine's clock; `work_s` is all of its work then."""

    ticket: Ticket[Any]
    run: Run
    since: float
    work_s: float

    def is_overdue(self, now: float) -> bool:
        return now - self.since > PATIENCE_S + PATIENCE_FACTOR * self.work_s


def choose(
    active: Sequence[Active],
    now: float,
    remaining_s: Callable[[Run], float],
    max_rows: Callable[[Run], int],
) -> list[Active]:
    """
    The jobs that share the next pass.

    Args:
        active: In the order of their arrival; at least one.
        remaining_s: A job's remaining work, in seconds of the device.
        max_rows: How many rows a pass of such jobs should have.

    Returns:
        The first in order, and those behind it that can share its pass and find room in it. The first is
        taken even if it is too large alone. Where jobs of several costs share a pass, it has no more rows than a pass
        of each of them should have: a model fills small pictures up to the largest, so a large one that fills a device
        alone would make them as slow as itself.
    """

    def rank(each: Active) -> tuple[bool, float]:
        overdue = each.is_overdue(now)
        return (not overdue, each.since if overdue else remaining_s(each.run))

    first, *others = sorted(active, key=rank)
    key = first.run.share_key
    most, rows = max_rows(first.run), first.run.rows
    chosen = [first]
    for each in others:
        if each.run.share_key == key and rows + each.run.rows <= min(most, max_rows(each.run)):
            chosen.append(each)
            most, rows = min(most, max_rows(each.run)), rows + each.run.rows
    return chosen
