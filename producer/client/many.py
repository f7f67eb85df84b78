"""Writes many jobs, a few hundred in a round trip, and says which are queued when not all are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jobs.errors import IdempotencyConflict, PartlySubmitted, RedisFull, RedisUnavailable
from jobs.table.submission import Encoded, Refused, Submitted

_BULK = 500  # Jobs per round trip.


def write_all(submissions: Sequence[Encoded], write: Callable[[Sequence[Encoded]], list[Submitted]]) -> list[str]:
    """
    Write jobs.

    Args:
        write: Writes some, in one round trip, and sends what is released.

    Returns:
        Their ids, in their order.

    Raises:
        PartlySubmitted: Redis was full or went away when some were queued.
        RedisFull, RedisUnavailable: When none was known to be.
        IdempotencyConflict: When all others are queued.
    """
    refused: list[Refused | RedisUnavailable] = []
    queued: list[str | None] = []
    for at in range(0, len(submissions), _BULK):
        try:
            results = write(submissions[at : at + _BULK])
        except (RedisFull, RedisUnavailable) as exc:
            refused.append(exc)
            break
        queued += [None if result.refused else result.job_id for result in results]
        refused += [result.refused for result in results if result.refused]
        if any(isinstance(each, RedisFull) for each in refused):
            break
    if refused:
        raise _refusal(refused, [*queued, *[None] * (len(submissions) - len(queued))])
    return [job_id for job_id in queued if job_id is not None]


def _refusal(refused: Sequence[Refused | RedisUnavailable], queued: Sequence[str | None]) -> Exception:
    """What Redis failed at goes before what was wrong with a request."""
    first = next((each for each in refused if isinstance(each, RedisFull | RedisUnavailable)), refused[0])
    if isinstance(first, IdempotencyConflict):
        first.queued = tuple(queued)
    if not isinstance(first, RedisFull | RedisUnavailable) or not any(queued):
        return first
    partly = PartlySubmitted(queued, str(first))
    partly.__cause__ = first
    return partly
