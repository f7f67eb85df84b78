"""Ends of jobs that are to be told to those who do not ask: whether somebody tells them, and whether it works."""

from __future__ import annotations

import redis

from jobs.announce.announcer import PROTOCOLS
from jobs.errors import RedisUnavailable
from jobs.process.settings import Settings, load_settings
from jobs.table.outbox import LEASE_S, Outbox, OutboxCounts
from ops.doctor.finding import Finding, State, attempt, attempt_all, unchecked
from ops.doctor.redis import open_once, reach

ENDS = "ends"

_STANDS_STILL_S = 2 * LEASE_S  # Tellers look twice a second; one that died holds what it took for a lease.
_NEVER_TOLD_S = 600.0


def check_ends() -> list[Finding]:
    """All that is to be known of ends that are told."""
    return attempt_all(ENDS, _check)


def _check() -> list[Finding]:
    settings = load_settings()
    with open_once(settings) as client:
        if reach(client, settings).state is not State.OK:
            return unchecked([f"{ENDS} by {protocol}" for protocol in PROTOCOLS], "Redis cannot be asked")
        return [_look(client, settings, protocol) for protocol in PROTOCOLS]


def _look(client: redis.Redis, settings: Settings, protocol: str) -> Finding:
    try:
        counts = Outbox(client, settings, protocol).counts()
    except RedisUnavailable as exc:  # A replica, for one, which is another check's to tell of.
        return unchecked([f"{ENDS} by {protocol}"], str(exc))[0]
    return attempt(f"{ENDS} by {protocol}", lambda: judge_ends(protocol, counts))


def judge_ends(protocol: str, counts: OutboxCounts) -> Finding:
    """Whether the ends of one protocol are told."""
    check = f"{ENDS} by {protocol}"
    history = f"{counts.history.get('told', 0)} told so far"
    if counts.overdue_s > _STANDS_STILL_S:
        found = f"{counts.waiting} stand still: nobody has taken the first of them for {_time(counts.overdue_s)}"
        advice = "Workers and API processes tell them: start one, or read in their logs why `ends are not told`."
        return Finding(check=check, state=State.FAILURE, found=found, advice=advice)
    if counts.given_up:
        found = f"{counts.given_up} given up: who waits for them was not told, and {history}"
        advice = (
            "Put right what the workers' logs say of them (`an end is given up`), then: ./imagemill ends list, and "
            "./imagemill ends retry --all."
        )
        return Finding(check=check, state=State.WARNING, found=found, advice=advice)
    if counts.oldest_s > _NEVER_TOLD_S:
        found = f"{counts.put_off} could not be told so far, the oldest for {_time(counts.oldest_s)}, and {history}"
        advice = "Read why in the workers' logs (`an end is not told yet`); they are tried again by themselves."
        return Finding(check=check, state=State.WARNING, found=found, advice=advice)
    return Finding(check=check, state=State.OK, found=f"{counts.waiting} to be told, {history}")


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
