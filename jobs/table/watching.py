"""
Which jobs clients read. The progress of such a job is published as it happens; of the others, with each renewal.

A read counts for ten seconds. A process says so once a second at most, however often it reads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

WATCH_S = 10.0  # for how long a read counts
SAY_EVERY_S = 1.0
FOLLOW_EVERY_S = 6.0  # between two sayings of somebody who goes on reading: one may come late

_MOST_KEPT = 10_000
_LONG_AGO = float("-inf")


class Watching:
    """What this process has said lately; safe to use from many threads."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}  # by job: when

    def due(self, job_ids: Iterable[str]) -> list[str]:
        """Those that are to be said (again) now; they count as said."""
        now = self._now()
        with self._lock:
            if len(self._said) > _MOST_KEPT:
                self._said = {job_id: at for job_id, at in self._said.items() if now - at < SAY_EVERY_S}
            due = [each for each in job_ids if now - self._said.get(each, _LONG_AGO) >= SAY_EVERY_S]
            self._said.update(dict.fromkeys(due, now))
        return due

    def forget(self, job_ids: Iterable[str]) -> None:
        """It could not be said."""
        with self._lock:
            for job_id in job_ids:
                self._said.pop(job_id, None)
