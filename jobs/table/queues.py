"""What an operator does with queues: pause and resume them, empty them, and deal with the dead."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Protocol, cast

import redis

from jobs import names
from jobs.errors import InvalidRequest, JobNotFound, ResultDeleted
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.limits import limits_of
from jobs.scripts.scripts import Scripts, as_mapping
from jobs.table.pieces import PIECE, in_pieces, newest_first
from jobs.table.record import JobRecord, deadlines_of
from jobs.table.table import JobTable, Offer


class Messages(Protocol):
    """Of others, which are no jobs yet."""

    def count(self, queue: str) -> int:
        """How many stand there."""

    def revoke(self, queue: str) -> int:
        """Have them end as canceled. Returns how many there were."""


class QueueControl:
    """
    Operations on whole queues, and on jobs that have ended without images.

    Args:
        messages: Those of others; None leaves them to the process that makes jobs of them.
    """

    def __init__(
        self,
        client: redis.Redis,
        table: JobTable,
        offer: Offer,
        settings: Settings,
        messages: Messages | None = None,
    ) -> None:
        self._redis = client
        self._table = table
        self._offer = offer
        self._settings = settings
        self._messages = messages
        self._scripts = Scripts(client, settings)
        self._limits = limits_of(settings)

    def pause(self, queue: str) -> None:
        """Hand out no more jobs of a queue. Running ones finish; waiting ones are kept, and new ones are accepted."""
        self._scripts.run("pause", queue=queue, is_paused=True, **self._limits)

    def resume(self, queue: str) -> None:
        """Hand out jobs again."""
        self._offer(self._scripts.run("pause", queue=queue, is_paused=False, **self._limits))

    def job_ids(self, queue: str, *, running: bool = False) -> Iterator[str]:
        """Jobs of a queue that have not begun; with `running`, those that run as well."""
        with map_errors(self._settings):
            # First what waits, or it would be released in place of what is canceled.
            released = cast("list[str]", self._redis.zrange(names.line_key(queue), 0, -1))
            first = frozenset(released)
            yield from [str(job_id) for job_id, _ in self._redis.zscan_iter(names.later_key(queue), count=PIECE)]
            queued = (str(job_id) for job_id, _ in self._redis.zscan_iter(names.queued_key(queue), count=PIECE))
            yield from (job_id for job_id in queued if job_id not in first)
            yield from released
            if running:
                yield from [str(job_id) for job_id, _ in self._redis.zscan_iter(names.running_key(queue), count=PIECE)]

    def count_messages(self, queue: str) -> int:
        """Messages that would become such jobs."""
        return 0 if self._messages is None else self._messages.count(queue)

    def cancel_all(self, queue: str, *, running: bool = False) -> int:
        """
        Cancel what `job_ids` lists, and messages that would become such jobs. Returns how many were asked to cancel.

        Raises:
            RedisUnavailable: Some may have been canceled; doing it again does the rest.
        """
        count = 0 if self._messages is None else self._messages.revoke(queue)
        for job_id in dict.fromkeys(self.job_ids(queue, running=running)):
            try:
                _, released = self._table.cancel(job_id)
            except JobNotFound:
                continue
            self._offer(released)
            count += 1
        return count

    def dead(self) -> list[JobRecord]:
        """Jobs whose workers were lost every time, the last to die first."""
        with map_errors(self._settings):
            ids = [job_id for job_id, _ in newest_first(self._redis, names.DEAD)]
        return [record for some in in_pieces(ids) for record in self._table.get_many(some)]

    def replay(self, job_id: str) -> JobRecord:
        """
        Queue a job again that ended without images, under its id, as if it had just been submitted.

        Raises:
            JobNotFound: There is no such job.
            InvalidRequest: It has not ended, has images, or never was a job.
            ResultDeleted: Nobody knows any more what it was asked for.
            RecordUnreadable: Its record is damaged.
        """
        with map_errors(self._settings):
            spec, deletion = self._redis.hmget(
                names.job_key(job_id), ["spec", "deletion"]
            )  # Its deadlines never change.
        if deletion:
            raise ResultDeleted(job_id)
        outcome, released, *fields = self._scripts.run(
            "replay",
            job_id=job_id,
            nonce=secrets.token_hex(8),
            **deadlines_of(job_id, cast("str | None", spec)),
            **self._limits,
        )
        if outcome == "missing":
            raise JobNotFound(job_id)
        if outcome != "replayed":
            raise InvalidRequest("job", f"{job_id} is {outcome}; only a job that ended without images can be replayed")
        self._offer(list(json.loads(released)))
        return JobRecord.from_hash(job_id, as_mapping(fields[0]))

    def drop_dead(self, job_id: str) -> bool:
        """Take a job off the list of the dead; its record stays. Returns whether it was there."""
        with map_errors(self._settings):
            return bool(self._redis.zrem(names.DEAD, job_id))
