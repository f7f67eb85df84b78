"""What can be asked of the job table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import redis
import structlog

from jobs import names
from jobs.errors import InvalidRequest, JobNotFound, RecordUnreadable, RedisUnavailable
from jobs.newer import word
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.scripts import Scripts, as_mapping
from jobs.table.rates import Place, place_of
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.table.watching import WATCH_S, Watching

CURSOR = "^[0-9]{1,15}$"  # The number of the last submission that was read.

_NEWEST = "+inf"
_LOOK_AT = 200  # entries of a list in one script: a millisecond of Redis' time
_MOST_LOOKS = 50
_PAGE_BYTES = 1 << 20  # of records: some tens at their longest
_WATCH_AT_A_TIME = 100
_MESSAGE, _MOST_MESSAGES = "message:", 1_000  # as claim.lua calls what it says of messages

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """Jobs of a queue: `waiting` in the table, `released` to Celery and unclaimed, `running`; and those for `later`."""

    queue: str
    waiting: int
    released: int
    running: int
    is_paused: bool = False
    later: int = 0


class JobReader:
    """Asks, and changes nothing."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._scripts = Scripts(client, settings)
        self._watching = Watching()
        self._messages: dict[str, dict[str, str]] = {}  # by job: what its message is made of, where that is known

    def get(self, job_id: str) -> JobRecord:
        """
        A job's record.

        Raises:
            JobNotFound: There is no such job.
            RecordUnreadable: Its record is none that this version can read.
        """
        with map_errors(self._settings):
            fields = cast("dict[str, str]", self._redis.hgetall(names.job_key(job_id)))
        if "status" not in fields:
            raise JobNotFound(job_id)
        return JobRecord.from_hash(job_id, fields)

    def look(self, job_id: str) -> JobRecord:
        """`get`, for a client that reads the job: its progress in the next seconds is published as it happens."""
        record = self.get(job_id)
        if not record.has_ended:
            self.watch([job_id])
        return record

    def watch(self, job_ids: Iterable[str]) -> None:
        """Say that somebody reads these jobs. A Redis that is away is no matter: the next read says it again."""
        due = self._watching.due(job_ids)
        for at in range(0, len(due), _WATCH_AT_A_TIME):
            some = due[at : at + _WATCH_AT_A_TIME]
            try:
                self._scripts.run("watch", job_ids=some, watch_s=WATCH_S)
            except RedisUnavailable as exc:
                self._watching.forget(some)
                log.info("jobs are read, which is not said", jobs=len(some), reason=str(exc))

    def get_many(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Records of those jobs that are there, in one round trip; not of those that cannot be read."""
        with map_errors(self._settings):
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in job_ids:
                pipeline.hgetall(names.job_key(job_id))
            hashes = pipeline.execute()
        records = [_read(job_id, fields) for job_id, fields in zip(job_ids, hashes, strict=True)]
        return [record for record in records if record is not None]

    def outgoing(self, job_ids: Sequence[str]) -> list[tuple[JobRecord, bool]]:
        """
        Those of these jobs whose messages are to be sent, and whether each was called up before its turn.

        Not those that are not released (any more), nor those that only a newer version can read.
        """
        replies = self._scripts.run("outgoing", job_ids=job_ids)
        found = [
            (_read(job_id, as_mapping(reply[1])), bool(reply[0]))
            for job_id, reply in zip(job_ids, replies, strict=True)
            if reply
        ]
        return [(record, is_called) for record, is_called in found if record is not None]

    def take_noted(self, job_ids: Sequence[str]) -> dict[str, JobRecord]:
        """Those of these jobs whose records this process knows from when they were released, once."""
        noted = {each: fields for each in job_ids if (fields := self._messages.pop(each, None)) is not None}
        read = {job_id: _read(job_id, fields) for job_id, fields in noted.items()}
        return {job_id: record for job_id, record in read.items() if record is not None}

    def _note_messages(self, fields: dict[str, str]) -> None:
        """Keep what a claim's answer says of the messages to be sent next, for the code that sends them."""
        for name in [each for each in fields if each.startswith(_MESSAGE)]:
            self._note_message(name.removeprefix(_MESSAGE), as_mapping(json.loads(fields.pop(name))))

    def _note_message(self, job_id: str, fields: dict[str, str]) -> None:
        while len(self._messages) >= _MOST_MESSAGES:  # Of jobs whose messages nobody sent after all.
            self._messages.pop(next(iter(self._messages)), None)
        self._messages[job_id] = fields

    def statuses(self, job_ids: Sequence[str]) -> list[Status | str | None]:
        """
        Where jobs stand, in one round trip and without their records; None for one that there is not.

        A word that only a newer version knows is given as it is.
        """
        with map_errors(self._settings):
            pipeline = self._redis.pipeline(transaction=False)
            for job_id in job_ids:
                pipeline.hget(names.job_key(job_id), "status")
            return [word(Status, status) if status else None for status in pipeline.execute()]

    def list_jobs(
        self,
        caller: str | None = None,
        status: Status | None = None,
        model: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> tuple[list[JobRecord], str | None]:
        """
        Jobs, the last to be submitted first.

        A page looks through 10,000 jobs at most, and its records have about a megabyte: it may have fewer than `limit`,
        or none, and still be followed by others.

        Args:
            caller: Whose; None for everybody's.
            status, model: Only those with this status, of this model.
            limit: The most records of a page.
            cursor: Where the page before ended; None for the first page.

        Returns:
            The records, and the cursor of the next page; None where there is none.

        Raises:
            InvalidRequest: `cursor` is none that came from here.
        """
        if cursor is not None and not re.fullmatch(CURSOR, cursor):
            raise InvalidRequest("cursor", "is not one that a list of jobs returned")
        behind = cursor or _NEWEST
        queue = None if model is None else names.queue_of(model)
        ids: list[str] = []
        left_bytes = _PAGE_BYTES
        for _ in range(_MOST_LOOKS):
            found, behind, size = self._scripts.run(
                "list",
                caller=caller or None,
                status=status,
                queue=queue,
                behind=behind,
                limit=limit - len(ids),
                most=_LOOK_AT,
                most_bytes=left_bytes,
            )
            ids += found
            left_bytes -= size
            if not behind or len(ids) >= limit or left_bytes <= 0:
                break
        records = self.get_many(ids)
        self.watch([each.id for each in records if not each.has_ended])
        return records, behind or None

    def place(self, job_id: str) -> Place | None:
        """Where a queued job stands, about; None for one that is not queued, or not to begin yet. See `Place`."""
        return place_of(self._scripts.run("place", job_id=job_id))

    def queues(self) -> list[QueueCounts]:
        """How many jobs each queue holds."""
        with map_errors(self._settings):
            queues = sorted(cast("set[str]", self._redis.smembers(names.QUEUES)))
            return [self._count(queue) for queue in queues]

    def _count(self, queue: str) -> QueueCounts:
        pipeline = self._redis.pipeline(transaction=True)
        for key in (names.queued_key, names.released_key, names.running_key, names.later_key):
            pipeline.zcard(key(queue))
        pipeline.sismember(names.PAUSED, queue)
        queued, released, running, later, is_paused = pipeline.execute()
        counts = {"waiting": max(0, queued - released), "released": released, "running": running, "later": later}
        return QueueCounts(queue=queue, is_paused=bool(is_paused), **counts)


def _read(job_id: str, fields: dict[str, str]) -> JobRecord | None:
    if "status" not in fields:
        return None
    try:
        return JobRecord.from_hash(job_id, fields)
    except RecordUnreadable:  # Logged; the others are not to suffer for it.
        return None
