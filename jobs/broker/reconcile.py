"""
Puts right what was interrupted: lapsed leases, lost messages, deadlines of waiting jobs.

Runs in every worker and API process, in one at a time. Nothing depends on which: each pass looks at the job table,
and a pass that is cut short, or runs twice, is made up for by the next. How often it passes, and how soon it looks for
a message, follows the lease: see `jobs.scripts.limits`.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import redis
import structlog
from redis.client import NEVER_DECODE

from jobs import names
from jobs.broker.dispatch import Dispatcher
from jobs.broker.stale import StaleMessages
from jobs.errors import ImagemillError
from jobs.fleet.lists import list_of
from jobs.fleet.queue_scanner import QueueScanner
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.limits import limits_of, times_of
from jobs.scripts.ranks import FIRST, LINE
from jobs.scripts.scripts import Scripts
from jobs.table.older import holder_name

log = structlog.get_logger()

_MOST_AT_A_TIME = 256
_PIECE, _MOST_PIECES, _OVERLAP = 200, 5, 50  # messages of a list that are read at once, and how often


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """
    What one pass did: jobs taken back from lost workers, dead, expired, canceled; messages sent again, or dropped.

    Attributes:
        has_more: It left some of what was due to the next one.
    """

    requeued: int = 0
    dead: int = 0
    expired: int = 0
    canceled: int = 0
    resent: int = 0
    dropped: int = 0
    has_more: bool = field(default=False, compare=False)


class Reconciler:
    """One process' part in it."""

    def __init__(self, client: redis.Redis, dispatcher: Dispatcher, settings: Settings) -> None:
        self._redis = client
        self._dispatcher = dispatcher
        self._settings = settings
        self._times = times_of(settings.lease_s)
        self._scripts = Scripts(client, settings)
        self._name = holder_name(secrets.token_hex(8))
        self._queue_scanner = QueueScanner(client, settings)
        self._stale = StaleMessages(client, settings)

    def run(self, stopping: threading.Event) -> None:
        """
        Pass after pass, until `stopping`; without a pause where there is more to do. Redis being away is nobody's fault
        here.

        A process that fails lets the lock expire before it tries again: another may succeed where it cannot.
        """
        pause_s = self._times.pass_s
        while not stopping.wait(pause_s):
            pause_s = self._times.pass_s + self._times.lock_s
            try:
                done = self.run_once()
            except ImagemillError as exc:
                log.warning("reconciling failed", reason=str(exc))
                continue
            except Exception:  # One job's record must not end the care for all others.
                log.exception("bug in the reconciler")
                continue
            pause_s = 0.0 if done is not None and done.has_more else self._times.pass_s
            if done is not None and done != Reconciled():
                log.info("reconciled", **{name: getattr(done, name) for name in Reconciled.__slots__})

    def run_once(self) -> Reconciled | None:
        """
        One pass; None where another process has the lock.

        Raises:
            RedisUnavailable
        """
        settings = self._settings
        reply = self._scripts.run(
            "reconcile",
            holder=self._name,
            lock_ms=int(self._times.lock_s * 1000),
            lease_s=settings.lease_s,
            max_attempts=settings.max_attempts,
            max_deliveries=settings.max_deliveries,
            most=_MOST_AT_A_TIME,
            look_again_s=self._times.look_again_s,
            **limits_of(settings),
        )
        if not reply:
            return None
        released, looked_for, called, requeued, dead, expired, canceled, has_more = reply
        lost = {**self._without_message(called, FIRST), **self._without_message(looked_for, LINE)}
        self._dispatcher.send([*released, *lost])
        dropped = self._stale.drop()
        self._queue_scanner.scan()
        if guessed := [job_id for job_id, is_certain in lost.items() if not is_certain]:
            self._scripts.run("put_off", job_ids=guessed, look_again_s=self._times.look_again_s, **limits_of(settings))
        return Reconciled(
            requeued=requeued,
            dead=dead,
            expired=expired,
            canceled=canceled,
            resent=len(lost),
            dropped=dropped,
            has_more=bool(has_more) or dropped > 0,
        )

    def _without_message(self, job_ids: Iterable[str], priority: int) -> dict[str, bool]:
        """
        Released jobs whose message does not stand in the list of the broker in which it should, as far as it was read.

        Whether all of it was, so that this is certain, is said of each. Where it is longer, other messages than those
        of released jobs may stand in it, and this one behind them: what is sent again then is put off ever longer.

        Whether a worker has taken it and not acknowledged it yet is not asked: it claims at once, and if it died
        before, the message stays with the dead for an hour. A message too many does nothing.
        """
        ids = list(job_ids)
        with map_errors(self._settings):
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in ids:
                pipeline.hget(names.job_key(job_id), "queue")
            queued = {job_id: queue for job_id, queue in zip(ids, pipeline.execute(), strict=True) if queue}
            by_queue: dict[str, set[str]] = defaultdict(set)
            for job_id, queue in queued.items():
                by_queue[queue].add(job_id)
            lost = [self._lost(queue, wanted, priority) for queue, wanted in by_queue.items()]
        found = {job_id: is_certain for job_ids, is_certain in lost for job_id in job_ids}
        return {job_id: found[job_id] for job_id in queued if job_id in found}

    def _lost(self, queue: str, wanted: set[str], priority: int) -> tuple[set[str], bool]:
        """
        Which of these jobs have no message in the list, of which no more is read than the end where messages are taken.

        There stands what has waited for longest. Of a job behind more others than were read nothing is known: its turn
        to be looked for comes again, when it is nearer. With them, whether the list was read whole.
        """
        key, missing = list_of(self._dispatcher.lines.of(queue), priority), set(wanted)
        for piece in range(_MOST_PIECES):
            # Some are taken meanwhile, which moves the others: a piece begins within the one before.
            overlap = _OVERLAP if piece else 0
            start, end = -(piece + 1) * _PIECE, overlap - piece * _PIECE - 1
            messages = self._read(key, start, end)
            missing.difference_update(filter(None, map(_job_of, messages)))
            if not missing or len(messages) < _PIECE + overlap:
                return missing, True
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in missing:
            pipeline.zrank(names.line_key(queue), job_id)
        places = zip(missing, pipeline.execute(), strict=True)
        return {job_id for job_id, place in places if place is not None and place < _MOST_PIECES * _PIECE}, False

    def _read(self, key: str, start: int, end: int) -> list[bytes]:
        """A piece of a list as it is: what others send may be anything."""
        reading = {NEVER_DECODE: True}
        answer = self._redis.execute_command("LRANGE", key, start, end, **reading)  # type: ignore[no-untyped-call]
        return cast("list[bytes]", answer)


def _job_of(message: bytes) -> str | None:
    try:
        return str(json.loads(message)["headers"]["id"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None  # No task: the consumer drops it.
