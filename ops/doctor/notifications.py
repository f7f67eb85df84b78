"""Notifications of finished jobs: whether a process sends them, and whether it works."""

from __future__ import annotations

import redis

from jobs.announce.announcer import PROTOCOLS
from jobs.errors import RedisUnavailable
from jobs.process.settings import Settings, load_settings
from jobs.table.outbox import LEASE_S, Outbox, OutboxCounts
from ops.doctor.finding import Finding, State, attempt, attempt_all, unchecked
from ops.doctor.redis import open_once, reach

NOTIFICATIONS = "notifications"

_STANDS_STILL_S = 2 * LEASE_S  # Notifiers look twice a second; one that died holds what it took for a lease.
_NEVER_SENT_S = 600.0


def check_notifications() -> list[Finding]:
    """Check the notifications of finished jobs."""
    return attempt_all(NOTIFICATIONS, _check)


def _check() -> list[Finding]:
    settings = load_settings()
    with open_once(settings) as client:
        if reach(client, settings).state is not State.OK:
            return unchecked([f"{NOTIFICATIONS} by {protocol}" for protocol in PROTOCOLS], "Redis cannot be reached")
        return [_look(client, settings, protocol) for protocol in PROTOCOLS]


def _look(client: redis.Redis, settings: Settings, protocol: str) -> Finding:
    try:
        counts = Outbox(client, settings, protocol).counts()
    except RedisUnavailable as exc:  # A replica, for example, which another check reports.
        return unchecked([f"{NOTIFICATIONS} by {protocol}"], str(exc))[0]
    return attempt(f"{NOTIFICATIONS} by {protocol}", lambda: judge_notifications(protocol, counts))


def judge_notifications(protocol: str, counts: OutboxCounts) -> Finding:
    """Whether the notifications of one protocol are sent."""
    check = f"{NOTIFICATIONS} by {protocol}"
    history = f"{counts.history.get('told', 0)} sent so far"
    if counts.overdue_s > _STANDS_STILL_S:
        found = f"{counts.waiting} are not sent: no process has taken the first of them for {_time(counts.overdue_s)}"
        advice = (
            "Workers and API processes send them: start one, or look in their logs for `notifications are not sent`."
        )
        return Finding(check=check, state=State.FAILURE, found=found, advice=advice)
    if counts.given_up:
        found = f"{counts.given_up} given up: their receivers were not notified; {history}"
        advice = (
            "The workers' logs have the reason (`a notification is given up`). Then: ./imagemill notifications list, "
            "and ./imagemill notifications retry --all."
        )
        return Finding(check=check, state=State.WARNING, found=found, advice=advice)
    if counts.oldest_s > _NEVER_SENT_S:
        found = f"{counts.put_off} could not be sent so far, the oldest for {_time(counts.oldest_s)}; {history}"
        advice = "The workers' logs have the reason (`a notification failed and will be retried`). They are retried."
        return Finding(check=check, state=State.WARNING, found=found, advice=advice)
    return Finding(check=check, state=State.OK, found=f"{counts.waiting} to be sent, {history}")


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
