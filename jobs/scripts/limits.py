"""
What the settings allow, as scripts take it, and the times that follow the lease.

How soon something lost should be missed depends on how soon a worker is taken for lost, so these times are parts of the
lease. Each has a floor, below which Redis would be asked for nothing, and a ceiling: a deadline that passed, or a
message that got lost, does not wait for longer because leases are long.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobs.process.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """
    In seconds; in brackets what they are at the default lease of 8 s.

    Attributes:
        pass_s: Between two passes of the reconciler (0.5).
        lock_s: How long its lock holds: soon over, for the holder may be the process that died (1.5).
        look_after_s: From a job's release until its message is looked for, for the first time (5).
        look_again_s: Between two looks from then on (20).
        look_lost_s: In place of both for a job that lost its worker: it has waited already, and workers that die seldom
            die alone (1.5).
    """

    pass_s: float
    lock_s: float
    look_after_s: float
    look_again_s: float
    look_lost_s: float


def times_of(lease_s: float) -> Times:
    """The times that belong to a lease."""

    def part(share: float, floor_s: float, ceiling_s: float) -> float:
        return min(max(share * lease_s, floor_s), ceiling_s)

    return Times(
        pass_s=part(1 / 16, 0.1, 2.0),
        lock_s=part(3 / 16, 0.5, 6.0),
        look_after_s=part(5 / 8, 1.0, 30.0),
        look_again_s=part(5 / 2, 4.0, 120.0),
        look_lost_s=part(3 / 16, 0.3, 6.0),
    )


def limits_of(settings: Settings) -> dict[str, float]:
    """The arguments of every script that releases or ends jobs."""
    times = times_of(settings.lease_s)
    return {
        "window": settings.release_window,
        "retention_s": settings.retention_s,
        "look_after_s": times.look_after_s,
        "look_lost_s": times.look_lost_s,
    }
