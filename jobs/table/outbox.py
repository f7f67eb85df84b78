"""
Ends that somebody is to be told of who does not ask: each stands in the outbox of its protocol until it is told.

It is put there by the very script that ends a job, so whoever ends it, it is told. Each end is in the hands of one
teller for as long as a lease holds; one that dies leaves it to others, so it may be told twice.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, cast

import redis
import structlog

from jobs import names
from jobs.errors import RecordUnreadable
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.scripts import Scripts, as_mapping
from jobs.table.record import JobRecord
from jobs.table.submission import wanted

log = structlog.get_logger()

LEASE_S = 60.0  # longer than telling one takes, whoever is slow
TELLER_LEASE_S = 15  # of whoever ended the job himself, and tells it next


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
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
    """How many ends are to be told, how long the oldest that is due has been so (s), and how many were given up."""

    waiting: int
    overdue_s: float
    given_up: int


class Outbox:
    """The ends of one protocol. All of it may raise `RedisUnavailable`."""

    def __init__(self, client: redis.Redis, settings: Settings, protocol: str) -> None:
        self._redis = client
        self._settings = settings
        self._scripts = Scripts(client, settings)
        self._protocol = protocol

    def take(self, most: int) -> list[Untold]:
        """Ends that are due, for this teller alone. One that only a newer version can read is left to that."""
        with map_errors(self._settings):
            if not self._redis.zcard(names.outbox_key(self._protocol)):  # Most looks: they are many, and cost a script.
                return []
        token = secrets.token_hex(8)
        found = self._scripts.run("untold", protocol=self._protocol, token=token, most=most, lease_s=int(LEASE_S))
        taken = [self._read(job_id, tries, as_mapping(fields), token) for job_id, tries, fields in found]
        return [each for each in taken if each is not None]

    def _read(self, job_id: str, tries: int, fields: dict[str, str], token: str) -> Untold | None:
        try:
            record = JobRecord.from_hash(job_id, fields)
            wants = wanted(fields, self._protocol)
            return Untold(record=record, protocol=self._protocol, wants=wants, tries=tries, token=token)
        except RecordUnreadable as exc:
            log.warning("an end cannot be told: its record cannot be read", job_id=job_id, reason=str(exc))
            return None

    def told(self, end: Untold) -> None:
        """It is told."""
        self._settle(end, outcome="told")

    def later(self, end: Untold, after_s: float) -> None:
        """It could not be told; to be tried again after a while, by anybody."""
        self._settle(end, outcome="later", after_s=after_s)

    def give_up(self, end: Untold) -> None:
        """It could not be told, and is not tried again unless somebody asks for it."""
        self._settle(end, outcome="given_up")

    def _settle(self, end: Untold, *, outcome: str, after_s: float = 0.0) -> None:
        self._scripts.run(
            "told",
            protocol=self._protocol,
            job_id=end.record.id,
            token=end.token,
            outcome=outcome,
            tries=end.tries,
            after_s=after_s,
        )

    def given_up(self) -> list[str]:
        """Ids of jobs whose end was given up, the last first."""
        with map_errors(self._settings):
            return cast("list[str]", self._redis.zrevrange(names.untold_key(self._protocol), 0, -1))

    def counts(self) -> OutboxCounts:
        """What stands in it."""
        with map_errors(self._settings):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zcard(names.outbox_key(self._protocol))
            pipeline.zrange(names.outbox_key(self._protocol), 0, 0, withscores=True)
            pipeline.zcard(names.untold_key(self._protocol))
            pipeline.time()
            waiting, first, given_up, (seconds, microseconds) = pipeline.execute()
        overdue_s = max(0.0, seconds + microseconds / 1e6 - first[0][1]) if first else 0.0
        return OutboxCounts(waiting=waiting, overdue_s=overdue_s, given_up=given_up)
