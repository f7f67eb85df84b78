"""
Which Celery queue the table's message of a job goes into: the line of the job's queue.

While workers of the version before are all that there is, which read the queue itself, it goes there. Code that checks
after them counts their slots, too.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable
from operator import attrgetter

from cachetools import TTLCache, cachedmethod

from jobs import names
from jobs.fleet.fleet import TAKES_JOBS, Fleet, WorkerReport

_LOOK_EVERY_S = 1.0


class Lines:
    """Asks which workers there are, at most once a second; safe to use from many threads."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._seen: TTLCache[Hashable, frozenset[str]] = TTLCache(1, ttl=_LOOK_EVERY_S)
        self._looking = threading.Condition()

    def of(self, queue: str) -> str:
        """Where the messages of a queue's jobs go now. May raise `RedisUnavailable`."""
        return queue if queue in self._old() else names.line_of(queue)

    @cachedmethod(attrgetter("_seen"), condition=attrgetter("_looking"))
    def _old(self) -> frozenset[str]:
        """Queues that only workers of the version before serve."""
        workers = self._fleet.workers()
        for each in workers:
            if not each.reads_lines and each.state in TAKES_JOBS:
                self._fleet.count_in(each)  # It does not say itself for how many slots jobs are to be released.
        old = _served_by(each for each in workers if not each.reads_lines)
        return old - _served_by(each for each in workers if each.reads_lines)


def _served_by(workers: Iterable[WorkerReport]) -> frozenset[str]:
    return frozenset(queue for each in workers for queue in each.queues if each.serves(queue))
