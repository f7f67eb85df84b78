"""
The job table: every job's record in Redis, changed by small Lua scripts alone.

Celery delivers, the table decides. Every script may run twice (redis-py repeats a command on a broken
connection) and then gives the same answer. The table sends no messages: scripts that release jobs return their
ids, and `jobs.broker.dispatch` sends them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import redis

from jobs import names
from jobs.envelope import Priority
from jobs.errors import InvalidRequest, JobNotFound
from jobs.fleet.fleet import Fleet
from jobs.newer import word
from jobs.process.settings import Settings
from jobs.redis.memory import KEPT_SHARE, MemoryGauge
from jobs.scripts.scripts import Argument, arguments, as_mapping
from jobs.table.callers import CallerLookup
from jobs.table.drops import Dropped, drop_some, kept_bytes
from jobs.table.moves import move
from jobs.table.reader import QueueCounts
from jobs.table.record import JobRecord
from jobs.table.running import RunningJobs
from jobs.table.states import Status
from jobs.table.submission import (
    Encoded,
    Submission,
    Submitted,
    encode,
    notification_args,
    read_answer,
    shortened,
    written_as,
)

__all__ = ["JobTable", "Offer", "QueueCounts"]

Offer = Callable[[Sequence[str]], None]  # has the messages of released jobs sent, and never raises

_REMEMBERED_S = 24 * 3600  # that a job was canceled before it came


class JobTable(RunningJobs):
    """
    Owns every `imagemill:*` key in Redis.

    Attributes:
        fleet: The workers.
        callers: Those who have API keys.
    """

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        super().__init__(client, settings)
        self._memory = MemoryGauge(client, settings)
        self.fleet = Fleet(client, settings)
        self.callers = CallerLookup(client, settings)

    def submit(self, submission: Submission) -> Submitted:
        """
        Write one job.

        Raises:
            IdempotencyConflict: Its key belongs to a job with other parameters.
            QuotaExceeded: Its caller has as many queued jobs as the submission's quota allows.
            TooMuchKept: Those take as much of Redis as its jobs may, so that dropping what has ended makes no room.
            BatchCanceled: Its batch takes no more.
            RedisUnavailable: Nothing was written, or it is unknown whether it was: submit again with the same id.
        """
        submitted = self.submit_many([submission])[0]
        if submitted.refused:
            raise submitted.refused
        return submitted

    def submit_many(self, submissions: Sequence[Submission]) -> list[Submitted]:
        """
        Write many jobs in one round trip. Why one is refused stands in the answer, beside the others' release.

        Raises:
            RedisFull: Nothing was written.
        """
        return self.submit_encoded([self.encode(each) for each in submissions])

    def adopt(self, submissions: Sequence[Submission]) -> list[Submitted]:
        """`submit_many`, of messages that were taken: how many may be while Redis fills up was decided then."""
        return self._write([self.encode(each) for each in submissions])

    def encode(self, submission: Submission) -> Encoded:
        """A submission in the form in which many can be held. Raises `RedisUnavailable`."""
        return encode(submission, self._limits, self._settings.max_queued, self._max_kept_bytes())

    def _max_kept_bytes(self) -> int | None:
        mib = self._settings.max_kept_mib
        return self._memory.share_bytes(KEPT_SHARE) if mib is None else mib << 20

    def submit_encoded(self, submissions: Sequence[Encoded]) -> list[Submitted]:
        """`submit_many`, of what `encode` made."""
        self._memory.refuse_if_full()
        return self._write(submissions)

    def _write(self, submissions: Sequence[Encoded]) -> list[Submitted]:
        replies = self._scripts.run_many([("submit", args) for _, args in submissions], may_be_full=True)
        answers = [read_answer(reply, each) for reply, each in zip(replies, submissions, strict=True)]
        for answer, (job_id, args) in zip(answers, submissions, strict=True):
            if job_id in answer.released:
                self._note_message(job_id, written_as(args))
        return answers

    def reject(
        self,
        job_id: str,
        *,
        request: dict[str, Any],
        queue: str,
        error: InvalidRequest,
        notifications: Mapping[str, Any] = MappingProxyType({}),
        tag: str | None = None,
        kept_s: int | None = None,
    ) -> None:
        """
        Record a job that failed before it was one, so that its sender can ask what became of it.

        Args:
            kept_s: For how long; None for as long as any job that has ended.
        """
        self._scripts.run(
            "reject",
            job_id=job_id,
            request=json.dumps(shortened(request), default=repr),
            queue=queue,
            caller="celery",
            error=json.dumps({"code": error.code, "message": str(error)}),
            error_code=error.code,
            notifications=notification_args(notifications),
            tag=tag,
            max_kept=self._max_kept_bytes(),
            retention_s=kept_s or self._settings.retention_s,
        )

    def cancel(self, job_id: str, *, remembers: bool = False) -> tuple[Status | str, list[str]]:
        """
        Ask for a job's end. No error on one that has ended.

        Args:
            remembers: One that is not there may be a message that has not become a job yet: then it ends as it comes.

        Returns:
            Its status now (`processing` leaves at its next step), and the ids that were released in turn.

        Raises:
            JobNotFound: There is no such job.
        """
        answer = self.cancel_many([job_id], remembers=remembers)[0]
        if answer is None:
            raise JobNotFound(job_id)
        return answer

    def cancel_many(
        self, job_ids: Sequence[str], *, remembers: bool = False
    ) -> list[tuple[Status | str, list[str]] | None]:
        """Ask for the end of many jobs, in one round trip. None for one that there is not."""
        remember_s = _REMEMBERED_S if remembers else None
        calls = [("cancel", arguments(job_id=each, remember_s=remember_s, **self._limits)) for each in job_ids]
        replies = self._scripts.run_many(calls)
        return [
            None if status == "missing" else (word(Status, status), list(json.loads(ids))) for status, ids, _ in replies
        ]

    def reprioritize(self, job_id: str, *, priority: Priority | None = None, to_front: bool = False) -> JobRecord:
        """
        Change the place of a queued job among its caller's.

        Args:
            priority: None leaves it as it is.
            to_front: Put it before all of its caller's that have this priority.

        Raises:
            JobNotFound: There is no such job.
            JobNotQueued: It has begun, or ended.
        """
        return move(self, self._scripts, job_id, priority, to_front)

    def kept(self) -> dict[str, int]:
        """What the jobs of each caller take of Redis, ended ones too; bytes, about, who has most first."""
        return kept_bytes(self._redis, self._settings)

    def drop_ended(
        self,
        caller: str | None = None,
        statuses: Sequence[Status] = (),
        ended_before: float | None = None,
        cursor: str | None = None,
    ) -> Dropped:
        """
        Forget jobs that have ended, as if their records had expired; pending notifications are dropped.

        A call looks at 5,000 jobs at most, those first that were submitted first.

        Args:
            caller: Whose; None for everybody's.
            statuses: Only jobs that ended so; all, where there are none.
            ended_before: Unix time, seconds; None for no bound.
            cursor: Where the call before ended; None for the first.

        Raises:
            InvalidRequest: `cursor` is none that came from here.
        """
        return drop_some(self._scripts, caller or None, statuses, ended_before, cursor)

    def cancel_and_show(self, job_id: str, *, scope: str | None = None) -> tuple[JobRecord, list[str]]:
        """
        `cancel`, with the record as it is then: Redis may be gone when it is read afterwards.

        One that is not there is remembered, as with `remembers`.

        Args:
            scope: The caller whose jobs alone are there, and whose messages alone are canceled before they come; None
                for everybody's.
        """
        remember_s = _REMEMBERED_S if names.is_job_id(job_id) else None
        args: dict[str, Argument] = {"is_shown": True, "remember_s": remember_s, "scope": scope}
        status, released, fields = self._scripts.run("cancel", job_id=job_id, **args, **self._limits)
        if status == "missing":
            raise JobNotFound(job_id, is_remembered=remember_s is not None)
        return JobRecord.from_hash(job_id, as_mapping(fields)), list(json.loads(released))
