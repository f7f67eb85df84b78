"""
Notifications of finished jobs: each is in the outbox of its protocol until it is sent.

The script that ends a job puts it there, so it is sent whichever process ends the job. Each is in the hands of one
notifier for as long as a lease holds; one that dies leaves it to others, so it may be sent twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
import structlog

from jobs import names
from jobs.errors import RecordUnreadable
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.scripts import Scripts, as_mapping
from jobs.table.pieces import in_pieces, newest_first
from jobs.table.record import JobRecord
from jobs.table.submission import wanted

log = structlog.get_logger()

LEASE_S = 60.0  # longer than any one notification takes
NOTIFIER_LEASE_S = 15  # of the process that ended the job, and sends it next


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingNotice:
    """
    A notification that is in this notifier's hands.

    Attributes:
        wants: What its protocol has to know.
        tries: How often it failed.
        token: Under which it was handed out.
    """

    record: JobRecord
    protocol: str
    wants: dict[str, Any]
    tries: int = 0
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxCounts:
    """
    What stands in an outbox, and what became of what stood there.

    Attributes:
        waiting: Notifications to be sent.
        put_off: Those of them that failed so far and are retried.
        given_up: Ends that are not tried again unless somebody asks for it.
        overdue_s: For how long the first of them has been due: nobody has taken it so far.
        oldest_s: Time since the end of the oldest job whose notification is still to be sent.
        history: How often notifications were sent (`told`), put off and given up, so far.
    """

    waiting: int
    put_off: int
    given_up: int
    overdue_s: float
    oldest_s: float
    history: Mapping[str, int]


class Outbox:
    """The notifications of one protocol. All of it may raise `RedisUnavailable`."""

    def __init__(self, client: redis.Redis, settings: Settings, protocol: str) -> None:
        self._redis = client
        self._settings = settings
        self._scripts = Scripts(client, settings)
        self._protocol = protocol

    def take(self, most: int) -> list[PendingNotice]:
        """Notifications that are due, for this notifier. One that only a newer version can read is left to that."""
        with map_errors(self._settings):
            if not self._redis.zcard(names.outbox_key(self._protocol)):  # Most looks: they are many, and cost a script.
                return []
        token = secrets.token_hex(8)
        found = self._scripts.run("take_notices", protocol=self._protocol, token=token, most=most, lease_s=int(LEASE_S))
        taken = [self._read(job_id, tries, as_mapping(fields), token) for job_id, tries, fields in found]
        return [each for each in taken if each is not None]

    def _read(self, job_id: str, tries: int, fields: dict[str, str], token: str) -> PendingNotice | None:
        try:
            record = JobRecord.from_hash(job_id, fields)
            wants = wanted(fields, self._protocol)
            return PendingNotice(record=record, protocol=self._protocol, wants=wants, tries=tries, token=token)
        except RecordUnreadable as exc:
            log.warning(
                "a notification cannot be sent: the job's record cannot be read", job_id=job_id, reason=str(exc)
            )
            return None

    def notified(self, end: PendingNotice) -> None:
        """It was sent."""
        self._settle(end, outcome="told")

    def later(self, end: PendingNotice, after_s: float) -> None:
        """It failed; any process retries it after a while."""
        self._settle(end, outcome="later", after_s=after_s)

    def give_up(self, end: PendingNotice) -> None:
        """It failed, and is not retried unless the operator asks for it."""
        self._settle(end, outcome="given_up")

    def _settle(self, end: PendingNotice, *, outcome: str, after_s: float = 0.0) -> None:
        self._scripts.run(
            "settle_notice",
            protocol=self._protocol,
            job_id=end.record.id,
            token=end.token,
            outcome=outcome,
            tries=end.tries,
            after_s=after_s,
        )

    def given_up(self) -> list[str]:
        """Ids of jobs whose notification was given up, the newest first."""
        return [job_id for job_id, _ in self.given_up_at()]

    def given_up_at(self) -> list[tuple[str, float]]:
        """The same, each with when that was; Unix time, seconds."""
        with map_errors(self._settings):
            return newest_first(self._redis, names.given_up_key(self._protocol))

    def retry(self, job_ids: Sequence[str]) -> list[str]:
        """Queue notifications again that were given up or put off. Returns the jobs that have one pending."""
        pending: list[str] = []
        for some in in_pieces(job_ids):
            answers = self._scripts.run("retry_notices", protocol=self._protocol, job_ids=some)
            pending += [job_id for job_id, is_there in zip(some, answers, strict=True) if is_there]
        return pending

    def counts(self) -> OutboxCounts:
        """What is in it, and what became of earlier notifications."""
        waiting, put_off, given_up, overdue_s, put_off_s, history = self._scripts.run(
            "outbox", protocol=self._protocol, retention_s=self._settings.retention_s
        )
        overdue_s = float(overdue_s or 0)
        return OutboxCounts(
            waiting=waiting,
            put_off=put_off,
            given_up=given_up,
            overdue_s=overdue_s,
            oldest_s=max(overdue_s, float(put_off_s or 0)),
            history={outcome: int(count) for outcome, count in as_mapping(history).items()},
        )
