"""How fast a queue goes, and when the turn of a waiting job comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    Where a queued job stands.

    Attributes:
        position: 1 for the next one to be taken. Exact for a job that is released to Celery, as far as messages come in
            the order in which they were sent, and while none of its caller's takes the turn of another; and for the
            first of a caller's that waits, until another caller comes who has had no turn. Else it is an estimate: that
            callers who wait take turns one job each, whatever those cost and the callers weigh.
        starts_in_s: Seconds until it is taken, at the pace of about the last two minutes in which jobs stood in line;
            None while that is unknown, or the queue is paused.
    """

    position: int
    starts_in_s: float | None


def place_of(reply: Sequence[str | int]) -> Place | None:
    """The answer of `place.lua`; None for a job that is not queued."""
    if not reply:
        return None
    before, is_paused, *pace = reply
    position = int(before) + 1
    rate = None if is_paused else _jobs_per_s(*map(str, pace))
    return Place(position=position, starts_in_s=round(position / rate, 1) if rate else None)


def _jobs_per_s(ended: str, busy_s: str, last: str, now: str) -> float | None:
    """
    Jobs that ended, over the seconds in which they did.

    Args:
        last: When the last one ended, if others stood in line then: the time since counts, or a queue whose workers are
            gone would seem to go on.
    """
    open_s = max(0.0, float(now) - float(last)) if last else 0.0
    took_s = float(busy_s or 0) + open_s
    return float(ended) / took_s if ended and took_s > 0 else None
