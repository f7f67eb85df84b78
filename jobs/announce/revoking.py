"""
Empties a queue of the messages that are no jobs yet, for an operator: their senders hear that they are canceled.

Whether a worker lives that would take them does not matter, nor how full Redis is.
"""

from __future__ import annotations

from celery.app.task import Context

from jobs import names
from jobs.announce.tells import tells_of
from jobs.broker.messages import UnreadableMessage, id_at_a_glance, read
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.table.inbox import Held, Inbox, Revoked
from jobs.table.table import JobTable, Offer

_MOST_AT_A_TIME = 100


class Revoking:
    """Over a connection of its own, which leaves bytes as they are."""

    def __init__(self, table: JobTable, offer: Offer, settings: Settings) -> None:
        self._table = table
        self._offer = offer
        self._settings = settings

    def revoke(self, queue: str) -> int:
        """
        Take out all that stand in a queue now. Returns how many became canceled jobs, or will.

        A message whose job there is goes, and its job is left as it is.

        Raises:
            RedisUnavailable: Doing it again does the rest.
        """
        with connect(self._settings, decodes=False) as client:
            inbox = Inbox(client, self._settings, [queue])
            left, count = inbox.count() + len(inbox.in_hand()), 0
            while left > 0 and (held := inbox.take(min(left, _MOST_AT_A_TIME), even_if_full=True)):
                left -= len(held)
                count += self._end(inbox, held)
            return count + self._forestall(inbox)

    def _end(self, inbox: Inbox, held: list[Held]) -> int:
        found = [_found_in(each, inbox.most_takings) for each in held]
        for each in found:
            if each.job_id == "":  # Nobody waits for it.
                inbox.drop(each.held)
        named = [each for each in found if names.is_job_id(each.job_id)]  # Others adoption refuses, for what they are.
        return sum(inbox.revoke(named))

    def _forestall(self, inbox: Inbox) -> int:
        """What a worker has in hand is a job in a moment: it is canceled as it comes. What is one already is not."""
        found = [_found_in(each, inbox.most_takings).job_id for each in inbox.in_hand()]
        ids = [each for each in dict.fromkeys(found) if names.is_job_id(each)]
        answers = self._table.cancel_many(inbox.without_job(ids), remembers=True)
        for answer in filter(None, answers):  # It became one in between.
            self._offer(answer[1])
        return len(answers)


def _found_in(held: Held, most_takings: int) -> Revoked:
    """Who a message is for, as adoption would read it; no id where there is none."""
    try:
        if held.takings > most_takings:
            task_id = id_at_a_glance(held.raw)
            return Revoked(held=held, job_id=task_id or "", tells=tells_of(Context(id=task_id, delivery_info={})))
        call = read(held.raw, held.queue)
    except UnreadableMessage as exc:
        return Revoked(held=held, job_id=exc.task_id or "", tells=tells_of(exc.request))
    return Revoked(held=held, job_id=call.task_id, tells=tells_of(call.request))
