"""
Keeps the leases of all jobs that this worker holds, spooled uploads included: one thread, one script call.

What the table answers (canceled, expired, lost) and what is announced on the cancel channel goes to the attempt, so
that neither it nor the engine ever asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis
import structlog

from jobs import names
from jobs.errors import Fenced, RedisUnavailable
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.table.claim import Claim, Report, Verdict
from jobs.table.table import JobTable
from workers.attempt.errors import JobLeft
from workers.attempt.vital import run_vital
from workers.attempt.watched_jobs import WatchedJobs

log = structlog.get_logger()

_RENEWALS_PER_LEASE = 4

Leave = Callable[[Exception], None]
Where = Callable[[], Report | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    claim: Claim
    leave: Leave
    where: Where


class LeaseKeeper:
    """
    Owns the list of jobs that this worker holds.

    Args:
        on_beat: Called before each renewal, from the keeper's thread; returns whether to go on. A worker that is stuck
            says no, and its jobs go to others.
        give_up: As `run_vital` takes it.
        watched_jobs: Gets the jobs that clients read, as Redis reports them; None if it is not needed.
    """

    def __init__(
        self,
        client: redis.Redis,
        table: JobTable,
        settings: Settings,
        on_beat: Callable[[], bool],
        give_up: Callable[[], None] = lambda: None,
        watched_jobs: WatchedJobs | None = None,
    ) -> None:
        self._redis = client
        self._watched_jobs = watched_jobs
        self._table = table
        self._settings = settings
        self._on_beat = on_beat
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._reported: dict[str, Report] = {}  # by token: where the last renewal said that its attempt is
        self._stopping = threading.Event()
        loops = {"leases": self._renew_until_stopped, "cancels": self._listen_until_stopped}
        self._threads = [
            threading.Thread(target=run_vital, args=(name, loop, self._stopping, give_up), name=name, daemon=True)
            for name, loop in loops.items()
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def hold(self, claim: Claim, leave: Leave, where: Where = lambda: None) -> None:
        """
        Renew this claim's lease until `let_go`.

        Args:
            leave: Called with the reason why its job should end, if any.
            where: Where its attempt is, which goes along with a renewal.
        """
        with self._lock:
            self._held[claim.token] = _Held(claim=claim, leave=leave, where=where)

    def let_go(self, claim: Claim) -> None:
        """The attempt is over."""
        with self._lock:
            self._held.pop(claim.token, None)
            self._reported.pop(claim.token, None)

    def deliver(self, claim: Claim, verdict: Verdict) -> None:
        """Pass on what the table says of a job."""
        if verdict is Verdict.GO:
            return
        status = verdict.leave_as
        self._ask(claim, Fenced(claim.job_id) if status is None else JobLeft(status))

    def ask_all(self, reason: Exception) -> None:
        """Ask every job held to leave."""
        for claim in self.held():
            self._ask(claim, reason)

    def _ask(self, claim: Claim, reason: Exception) -> None:
        with self._lock:
            held = self._held.get(claim.token)
        if held is not None:
            held.leave(reason)

    def held(self) -> list[Claim]:
        """The claims held now."""
        with self._lock:
            return [each.claim for each in self._held.values()]

    def stop(self) -> None:
        """End the threads."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def renew(self) -> None:
        """
        Renew all leases at once.

        Raises:
            RedisUnavailable: None may have been renewed.
        """
        claims, news = self.held(), self._news()
        if claims:
            verdicts = self._table.renew(claims, news)
            with self._lock:
                self._reported.update((token, report) for token, report in news.items() if token in self._held)
            for claim, verdict in zip(claims, verdicts, strict=True):
                self.deliver(claim, verdict)

    def _news(self) -> dict[str, Report]:
        """By token: where those are that have gone on since the last renewal."""
        with self._lock:
            held = list(self._held.values())
            reported = dict(self._reported)
        found = {each.claim.token: report for each in held if (report := each.where()) is not None}
        return {token: report for token, report in found.items() if report is not reported.get(token)}

    def _renew_until_stopped(self) -> None:
        interval_s = self._settings.lease_s / _RENEWALS_PER_LEASE
        pause_s = interval_s
        while not self._stopping.wait(pause_s):
            if not self._on_beat():
                return
            started = time.monotonic()
            try:
                self.renew()
            except RedisUnavailable as exc:
                log.warning("leases not renewed", jobs=len(self.held()), reason=str(exc))
            pause_s = max(0.05, interval_s - (time.monotonic() - started))

    def _listen_until_stopped(self) -> None:
        while not self._stopping.is_set():
            try:
                with map_errors(self._settings), self._subscribe() as channel:
                    while not self._stopping.is_set():
                        message = channel.get_message(timeout=1.0)
                        if message is not None:
                            self._hear(str(message["channel"]), str(message["data"]))
            except RedisUnavailable:
                self._stopping.wait(1.0)  # Renewals report cancels, too.

    def _subscribe(self) -> redis.client.PubSub:
        channel: redis.client.PubSub = self._redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        watched = [] if self._watched_jobs is None else [names.watched_channel(self._watched_jobs.owner)]
        channel.subscribe(names.CANCEL_CHANNEL, *watched)
        return channel

    def _hear(self, channel: str, job_id: str) -> None:
        if channel == names.CANCEL_CHANNEL:
            self._cancel(job_id)
        elif self._watched_jobs is not None:
            self._watched_jobs.note(job_id)

    def _cancel(self, job_id: str) -> None:
        for claim in self.held():
            if claim.job_id == job_id:
                self.deliver(claim, Verdict.CANCEL)
