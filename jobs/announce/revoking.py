"""
Empties a queue of the messages that are no jobs yet, for an operator: their senders are notified of the cancel.

Whether a worker lives that would take them does not matter, nor how full Redis is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property

import structlog
from celery.app.task import Context

from jobs import names
from jobs.announce.celery import PROTOCOL, CeleryResults
from jobs.announce.notifications import notifications_of
from jobs.broker.messages import UnreadableMessage, id_at_a_glance, read
from jobs.errors import RedisFull
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.redis.memory import MemoryGauge
from jobs.table.inbox import Held, Inbox, Revoked
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.table.table import JobTable, Offer

log = structlog.get_logger()

_MOST_AT_A_TIME = 100


class Revoking:
    """Over a connection of its own, which leaves bytes as they are."""

    def __init__(self, table: JobTable, offer: Offer, settings: Settings) -> None:
        self._table = table
        self._offer = offer
        self._settings = settings

    @cached_property
    def _results(self) -> CeleryResults:
        return CeleryResults(self._settings)

    def count(self, queue: str) -> int:
        """How many stand in a queue now, or are in a worker's hands."""
        with connect(self._settings, decodes=False) as client:
            inbox = Inbox(client, self._settings, [queue])
            return inbox.count() + len(inbox.in_hand())

    def revoke(self, queue: str) -> int:
        """
        Take out all that stand in a queue now. Returns how many are canceled, or will be as they come.

        A message whose job there is goes, and its job is left as it is.

        Raises:
            RedisUnavailable: Doing it again does the rest.
        """
        with connect(self._settings, decodes=False) as client:
            inbox, gauge = Inbox(client, self._settings, [queue]), MemoryGauge(client, self._settings)
            left, count, is_full = inbox.count() + len(inbox.in_hand()), 0, False
            while left > 0 and (held := inbox.take(min(left, _MOST_AT_A_TIME), even_if_full=True)):
                left -= len(held)
                found = [_found_in(each, inbox.most_takings) for each in held]
                inbox.drop(*[each.held for each in found if not each.job_id])  # Nobody waits for those.
                named = [each for each in found if names.is_job_id(each.job_id)]  # Adoption says what others are.
                is_full = is_full or _is_full(gauge)  # What makes room need not be filled again with records.
                count += self._notify_at_once(inbox, named) if is_full else sum(inbox.revoke(named))
            return count + self._forestall(inbox)

    def _notify_at_once(self, inbox: Inbox, found: Sequence[Revoked]) -> int:
        """Leave nothing but the results: records would be larger than the messages, and fill Redis further."""
        new = frozenset(inbox.without_job([each.job_id for each in found]))
        notified = [each for each in found if each.job_id in new and _is_notified(self._results, each)]
        inbox.revoke([each for each in found if each not in notified])  # Notified like any other job.
        inbox.drop(*[each.held for each in notified])
        return len(new)

    def _forestall(self, inbox: Inbox) -> int:
        """What a worker has in hand is a job in a moment: it is canceled as it comes. What is one already is not."""
        found = [_found_in(each, inbox.most_takings).job_id for each in inbox.in_hand()]
        ids = [each for each in dict.fromkeys(found) if names.is_job_id(each)]
        answers = self._table.cancel_many(inbox.without_job(ids), remembers=True)
        for answer in filter(None, answers):  # It became one in between.
            self._offer(answer[1])
        return len(answers)


def _is_full(gauge: MemoryGauge) -> bool:
    try:
        gauge.refuse_if_full()
    except RedisFull:
        return True
    return False


def _is_notified(results: CeleryResults, revoked: Revoked) -> bool:
    if PROTOCOL not in revoked.notifications:
        return True
    try:
        results.notify(_canceled(revoked), revoked.notifications[PROTOCOL])
    except Exception as exc:  # noqa: BLE001 - backends of all kinds fail in ways of their own
        log.warning("a notification failed and will be retried", job_id=revoked.job_id, error=type(exc).__name__)
        return False
    return True


def _canceled(revoked: Revoked) -> JobRecord:
    now = time.time()
    return JobRecord(
        id=revoked.job_id,
        status=Status.CANCELED,
        queue=revoked.held.queue,
        caller="celery",
        kind=names.FIRST_KIND,
        created_at=now,
        ended_at=now,
    )


def _found_in(held: Held, most_takings: int) -> Revoked:
    """Who a message is for, as adoption would read it; no id where there is none."""
    try:
        if held.takings > most_takings:
            task_id = id_at_a_glance(held.raw)
            return Revoked(
                held=held, job_id=task_id or "", notifications=notifications_of(Context(id=task_id, delivery_info={}))
            )
        call = read(held.raw, held.queue)
    except UnreadableMessage as exc:
        return Revoked(held=held, job_id=exc.task_id or "", notifications=notifications_of(exc.request))
    return Revoked(held=held, job_id=call.task_id, notifications=notifications_of(call.request))
