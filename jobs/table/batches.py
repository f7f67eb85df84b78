"""Batches: many jobs that are submitted as one, counted as one and canceled as one."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from jobs import names
from jobs.errors import BatchNotFound
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.limits import limits_of
from jobs.scripts.scripts import Scripts
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.table.table import JobTable, Offer

_PAGE = 250
_CANCELED_PAGES = 4  # by the call itself
_RECORDS = 50  # of a page: at their longest they have 4 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """
    A batch at one moment.

    Attributes:
        counts: How many of its jobs have each status.
        others: How many have a status that only a newer version knows; they count as going on.
        refused: How many lines never became jobs.
        is_canceled: It takes no more jobs.
    """

    id: str
    caller: str
    created_at: float
    counts: Mapping[Status, int]
    others: int = 0
    refused: int = 0
    is_canceled: bool = False

    @property
    def total(self) -> int:
        """How many jobs it has."""
        return sum(self.counts.values()) + self.others

    @property
    def has_ended(self) -> bool:
        """All of its jobs have ended. While it is being submitted, others may follow."""
        return not self.others and not any(count for status, count in self.counts.items() if not status.is_terminal)


class Batches:
    """The batches of the job table. Jobs come into one by their `Submission.batch`."""

    def __init__(self, client: redis.Redis, table: JobTable, offer: Offer, settings: Settings) -> None:
        self._redis = client
        self._table = table
        self._offer = offer
        self._settings = settings
        self._scripts = Scripts(client, settings)
        self._limits = limits_of(settings)

    def open(self, batch_id: str, caller: str, refused_lines: Sequence[int] = ()) -> None:
        """
        Begin a batch, or go on with it.

        Args:
            refused_lines: Lines that will not become jobs; each counts once, however often it is named.

        Raises:
            RedisUnavailable
        """
        self._scripts.run(
            "batch",
            batch_id=batch_id,
            caller=caller,
            refused_lines=refused_lines,
            retention_s=self._settings.retention_s,
        )

    def get(self, batch_id: str) -> BatchRecord:
        """
        Where a batch stands, at the same cost however many jobs it has.

        Raises:
            BatchNotFound: There is no such batch.
        """
        with map_errors(self._settings):
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.hgetall(names.batch_key(batch_id))
            pipeline.bitcount(names.batch_refused_key(batch_id))
            pipeline.zcard(names.batch_jobs_key(batch_id))
            fields, refused, jobs = pipeline.execute()
        if "caller" not in fields:
            raise BatchNotFound(batch_id)
        counts = {status: int(fields.get(status) or 0) for status in Status}
        return BatchRecord(
            id=batch_id,
            caller=fields["caller"],
            created_at=float(fields["created_at"]),
            counts=counts,
            others=max(0, jobs - sum(counts.values())),
            refused=refused,
            is_canceled="is_closed" in fields,
        )

    def records(self, batch_id: str, behind: int = 0) -> tuple[list[tuple[int, JobRecord]], int | None]:
        """
        A page of a batch's jobs, by line.

        Args:
            behind: As many jobs are left out.

        Returns:
            The records that there are, each with its line, and `behind` for the next page; None at the end.
        """
        with map_errors(self._settings):
            key = names.batch_jobs_key(batch_id)
            found = cast("Any", self._redis.zrange(key, behind, behind + _RECORDS - 1, withscores=True))
        ids = [job_id for job_id, _ in found]
        lines = {job_id: int(line) for job_id, line in found}
        following = behind + _RECORDS if len(ids) == _RECORDS else None
        return [(lines[each.id], each) for each in self._table.get_many(ids)], following

    def cancel(self, batch_id: str) -> BatchRecord:
        """
        Let no more jobs into a batch, and ask for the end of those that go on. Those that have ended stay as they are.

        A call ends a thousand jobs at most, and the reconciler the others, some at a pass.

        Returns:
            The batch as it is then.

        Raises:
            BatchNotFound: There is no such batch.
            RedisUnavailable: Some may have been canceled; doing it again does the rest.
        """
        for _ in range(_CANCELED_PAGES):
            nonce = secrets.token_hex(8)
            outcome, released = self._scripts.run(
                "cancel_batch", batch_id=batch_id, nonce=nonce, most=_PAGE, **self._limits
            )
            if outcome == "missing":
                raise BatchNotFound(batch_id)
            self._offer(released)
            if outcome == "done":
                break
        return self.get(batch_id)
