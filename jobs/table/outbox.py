"""
Ends that somebody is to be told of who does not ask: each stands in the outbox of its protocol until it is told.

It is put there by the very script that ends a job, so whoever ends it, it is told. Each end is in the hands of one
notifier for as long as a lease holds; one that dies leaves it to others, so it may be told twice.
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

LEASE_S = 60.0  # longer than telling one takes, whoever is slow
NOTIFIER_LEASE_S = 15  # of whoever ended the job himself, and tells it next


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingNotice:
    """
    An end that is in this teller's hands.

    Attributes:
        wants: What its protocol has to know.
        tries: How often it could not be told.
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
        waiting: Ends that are to be told.
        put_off: Those of them that could not be told yet, and are to be tried again.
        given_up: Ends that are not tried again unless somebody asks for it.
        overdue_s: For how long the first of them has been due: nobody has taken it so far.
        oldest_s: How long ago the oldest job ended whose end is still to be told.
        history: How often ends were told, put off and given up, so far.
    """

    waiting: int
    put_off: int
    given_up: int
    overdue_s: float
    oldest_s: float
    history: Mapping[str, int]


class Outbox:
    """The ends of one protocol. All of it may raise `RedisUnavailable`."""

    def __init__(self, client: redis.Redis, settings: Settings, protocol: str) -> None:
        self._redis = client
        self._settings = settings
        self._scripts = Scripts(client, settings)
        self._protocol = protocol

    def take(self, most: int) -> list[PendingNotice]:
        """Ends that are due, for this notifier alone. One that only a newer version can read is left to that."""
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
            log.warning("an end cannot be told: its record cannot be read", job_id=job_id, reason=str(exc))
            return None

    def notified(self, end: PendingNotice) -> None:
        """It is told."""
        self._settle(end, outcome="told")

    def later(self, end: PendingNotice, after_s: float) -> None:
        """It could not be told; to be tried again after a while, by anybody."""
        self._settle(end, outcome="later", after_s=after_s)

    def give_up(self, end: PendingNotice) -> None:
        """It could not be told, and is not tried again unless somebody asks for it."""
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
        """Ids of jobs whose end was given up, the last first."""
        return [job_id for job_id, _ in self.given_up_at()]

    def given_up_at(self) -> list[tuple[str, float]]:
        """The same, each with when that was; Unix time, seconds."""
        with map_errors(self._settings):
            return newest_first(self._redis, names.given_up_key(self._protocol))

    def retry(self, job_ids: Sequence[str]) -> list[str]:
        """Have ends told that were given up, or put off. Returns the jobs of which there is one to be told."""
        pending: list[str] = []
        for some in in_pieces(job_ids):
            answers = self._scripts.run("retry_notices", protocol=self._protocol, job_ids=some)
            pending += [job_id for job_id, is_there in zip(some, answers, strict=True) if is_there]
        return pending

    def counts(self) -> OutboxCounts:
        """What stands in it, and what became of what stood there."""
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
