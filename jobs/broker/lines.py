"""
Which Celery queue the table's message of a job goes into: the line of the job's queue.

While workers of the version before are all that there is, which read the queue itself, it goes there. Whoever looks
after them counts their slots, too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from jobs import names
from jobs.fleet.fleet import TAKES_JOBS, Fleet, WorkerReport

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
        workers = self._fleet.workers()
        for each in workers:
            if not each.reads_lines and each.state in TAKES_JOBS:
                self._fleet.count_in(each)  # It does not say itself for how many slots jobs are to be released.
        old = _served_by(each for each in workers if not each.reads_lines)
        return old - _served_by(each for each in workers if each.reads_lines)


def _served_by(workers: Iterable[WorkerReport]) -> frozenset[str]:
    return frozenset(queue for each in workers for queue in each.queues if each.serves(queue))
