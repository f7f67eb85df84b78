"""What is asked of the job table a thousand times a second, for coroutines; `JobReader` asks the rest, in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import redis.asyncio

from jobs import names
from jobs.errors import JobNotFound, RedisUnavailable
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.scripts import arguments, source_of
from jobs.table.rates import Place, place_of
from jobs.table.record import JobRecord
from jobs.table.submission import Submission
from jobs.table.watching import WATCH_S, Watching

_WATCH_AT_A_TIME = 100


class AsyncReader:
    """Asks, and changes nothing. Whatever it asks may raise `RedisUnavailable`."""

    def __init__(self, client: redis.asyncio.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._place = client.register_script(source_of("place"))
        self._prospect = client.register_script(source_of("prospect"))
        self._watch = client.register_script(source_of("watch"))
        self._watching = Watching()

    async def get(self, job_id: str) -> JobRecord:
        """
        A job's record.

        Raises:
            JobNotFound: There is no such job.
            RecordUnreadable: Its record is none that this version can read.
        """
        with map_errors(self._settings):
            fields = cast("dict[str, str]", await self._redis.hgetall(names.job_key(job_id)))
        if "status" not in fields:
            raise JobNotFound(job_id)
        return JobRecord.from_hash(job_id, fields)

    async def look(self, job_id: str) -> JobRecord:
        """`get`, for somebody who reads the job, as `JobReader.look`."""
        record = await self.get(job_id)
        if not record.has_ended:
            await self.watch([job_id])
        return record

    async def watch(self, job_ids: Sequence[str]) -> None:
        """Say that somebody reads these jobs, as `JobReader.watch`."""
        due = self._watching.due(job_ids)
        for at in range(0, len(due), _WATCH_AT_A_TIME):
            some = due[at : at + _WATCH_AT_A_TIME]
            try:
                with map_errors(self._settings):
                    await self._watch(args=[arguments(job_ids=some, watch_s=WATCH_S)])
            except RedisUnavailable:
                self._watching.forget(some)

    async def place(self, job_id: str) -> Place | None:
        """Where a queued job stands and when its turn comes, about; None for one that is not queued."""
        with map_errors(self._settings):
            return place_of(await self._place(args=[arguments(job_id=job_id)]))

    async def prospect(self, submission: Submission) -> Place | None:
        """Where a job would stand, about, if it were submitted now."""
        spec, window = submission.spec, self._settings.release_window
        query = arguments(queue=submission.queue, caller=spec.caller, priority=spec.priority, window=window)
        with map_errors(self._settings):
            return place_of(await self._prospect(args=[query]))

    async def has_events(self, job_id: str, after: str) -> bool:
        """Whether a job's stream has an event behind `after`, the id of an event."""
        with map_errors(self._settings):
            return bool(await self._redis.xrange(names.events_key(job_id), min=f"({after}", count=1))
