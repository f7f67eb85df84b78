"""Which jobs of this worker are being read by clients: their progress is reported as it changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from jobs.table.claim import Claim
from jobs.table.watching import WATCH_S

_MOST_EARLY = 1_000


@dataclass(slots=True, kw_only=True)
class _Read:
    """
    One attempt, by this process' clock.

    Attributes:
        until: When nobody reads its job any more, as far as is known.
        due: When it has to end, of one that has to.
    """

    token: str
    until: float
    due: float


class WatchedJobs:
    """
    Safe to use from many threads. Knows of an attempt from `follow` to `forget`.

    Attributes:
        owner: Of the jobs, as Redis knows it: reads are reported to it.
    """

    def __init__(self, owner: str, now: Callable[[], float] = time.monotonic) -> None:
        self.owner = owner
        self._now = now
        self._lock = threading.Lock()
        self._read: dict[str, _Read] = {}  # by job
        self._early: dict[str, float] = {}  # by job: until when it is read, of one that is not followed (yet)
        self._on_news: Callable[[str], None] = lambda job_id: None

    def subscribe(self, on_news: Callable[[str], None]) -> None:
        """Call this with each job that a client begins to read."""
        self._on_news = on_news

    def follow(self, claim: Claim) -> None:
        """An attempt begins."""
        now = self._now()
        due = float("inf") if claim.left_s is None else now + claim.left_s
        with self._lock:
            until = max(now + claim.watched_s, self._early.pop(claim.job_id, 0.0))
            self._read[claim.job_id] = _Read(token=claim.token, until=until, due=due)

    def forget(self, claim: Claim) -> None:
        """It is over."""
        with self._lock:
            known = self._read.get(claim.job_id)
            if known is not None and known.token == claim.token:
                del self._read[claim.job_id]

    def note(self, job_id: str) -> None:
        """Somebody reads this job, which may have been claimed so lately that nobody follows it here yet."""
        now = self._now()
        with self._lock:
            known = self._read.get(job_id)
            if known is None:
                self._note_early(job_id, now)
                return
            is_news, known.until = known.until <= now, now + WATCH_S
        if is_news:
            self._on_news(job_id)

    def _note_early(self, job_id: str, now: float) -> None:
        if len(self._early) >= _MOST_EARLY:
            self._early = {each: until for each, until in self._early.items() if until > now}
        self._early[job_id] = now + WATCH_S

    def wants(self, claim: Claim) -> bool:
        """
        Whether a job's progress must be reported now: a client reads it; or its time is over by our clock, and what the
        table answers is that it should end.
        """
        now, known = self._now(), self._read.get(claim.job_id)
        return known is not None and (known.until > now or known.due <= now)
