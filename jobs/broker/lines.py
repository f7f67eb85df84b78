"""
Which Celery queue the table's message of a job goes into: the line of the job's queue.

While workers of the version before are all that there is, which read the queue itself, it goes there. Whoever looks
after them counts their slots, too.
"""

from __future__ import annotations

import threading
import time

from jobs import names
from jobs.table.fleet import TAKES_JOBS, Fleet

_LOOK_EVERY_S = 1.0


class Lines:
    """Asks which workers there are, at most once a second; safe to use from many threads."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._lock = threading.Lock()
        self._next_look = 0.0
        self._old: frozenset[str] = frozenset()  # Queues that only workers of the version before serve.

    def of(self, queue: str) -> str:
        """Where the messages of a queue's jobs go now. May raise `RedisUnavailable`."""
        with self._lock:
            if time.monotonic() >= self._next_look:
                self._old = self._look()
                self._next_look = time.monotonic() + _LOOK_EVERY_S
            return queue if queue in self._old else names.line_of(queue)

    def _look(self) -> frozenset[str]:
        workers = [each for each in self._fleet.workers() if each.state in TAKES_JOBS]
        for each in workers:
            if not each.reads_lines:  # It does not say itself for how many slots jobs are to be released.
                self._fleet.count_in(each)
        old = {queue for each in workers if not each.reads_lines for queue in each.queues}
        return frozenset(old - {queue for each in workers if each.reads_lines for queue in each.queues})
