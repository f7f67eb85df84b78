"""Delivers notices of ends: a notifier for each protocol. A further one is a file beside this one, a line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import redis

from jobs.announce import celery
from jobs.announce.notifier import Notifier, Notify
from jobs.process.settings import Settings
from jobs.table.claim import Claim
from jobs.table.outbox import Outbox, PendingNotice

PROTOCOLS: Final = (celery.PROTOCOL,)


class Announcer:
    """Of a worker or an API process."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._results = celery.CeleryResults(settings)
        protocols: dict[str, Notify] = {
            celery.PROTOCOL: self._results.notify,
        }
        self._notifiers = [Notifier(Outbox(client, settings, name), name, notify) for name, notify in protocols.items()]

    def start(self) -> None:
        """Start the notifiers."""
        for notifier in self._notifiers:
            notifier.start()

    def stop(self, timeout_s: float | None = None) -> None:
        """Stop them, waiting at most this long for notifications in progress; other processes send the rest."""
        for notifier in self._notifiers:
            notifier.stop(timeout_s)

    def takes(self, notifications: Mapping[str, Any]) -> bool:
        """Whether this process notifies of the end of such a job at once; `notifications` as of its claim."""
        found = [each for each in self._notifiers if each.protocol in notifications]
        return len(found) == len(notifications) > 0 and all(each.has_room for each in found)

    def hand(self, ends: Sequence[PendingNotice]) -> None:
        """Send the notifications that `JobTable.end` returned."""
        for end in ends:
            for notifier in self._notifiers:
                if notifier.protocol == end.protocol:
                    notifier.hand(end)

    def note_end(self, notifications: Mapping[str, Any]) -> None:
        """
        A job has just ended in this process: send its notifications now.

        Args:
            notifications: By protocol, as of a claim. Most jobs have none, and there is nothing to look for.
        """
        for notifier in self._notifiers:
            if notifier.protocol in notifications:
                notifier.wake()

    def note_start(self, claim: Claim, worker: str) -> None:
        """A job begins in this process. It does not wait for the notification of its start."""
        wants = claim.notifications.get(celery.PROTOCOL)
        if wants is None or not celery.hears_start(wants):
            return
        for notifier in self._notifiers:
            if notifier.protocol == celery.PROTOCOL:
                notifier.note(partial(self._results.notify_start, claim.record, wants, worker))
