"""
The job table: every job's record in Redis, changed by small Lua scripts alone.

Celery delivers, the table decides. Every script may run twice (redis-py repeats a command on a broken
connection) and then gives the same answer. Writes of a running job name its attempt token, so that whoever
lost the job can change nothing. The table sends no messages: scripts that release jobs return their ids, and
`jobs.broker.dispatch` sends them.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import redis
import structlog

from jobs import names
from jobs.envelope import Priority
from jobs.errors import ErrorCode, Fenced, InvalidRequest, JobNotFound, RecordUnreadable
from jobs.newer import word
from jobs.process.settings import Settings
from jobs.redis.memory import MemoryGauge
from jobs.scripts.limits import limits_of
from jobs.scripts.scripts import Argument, arguments, as_mapping
from jobs.table.callers import CallerLookup
from jobs.table.claim import Claim, Report, Verdict, event_data, times_in
from jobs.table.fleet import Fleet
from jobs.table.moves import move
from jobs.table.outbox import TELLER_LEASE_S, Untold
from jobs.table.reader import JobReader, QueueCounts
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.table.submission import (
    Encoded,
    Submission,
    Submitted,
    as_told,
    encode,
    read_answer,
    shortened,
    wanted,
    written_as,
)

__all__ = ["JobTable", "Offer", "QueueCounts"]

Offer = Callable[[Sequence[str]], None]  # has the messages of released jobs sent, and never raises

log = structlog.get_logger()

_REMEMBERED_S = 24 * 3600  # that a job was canceled before it came


class JobTable(JobReader):
    """
    Owns every `imagemill:*` key in Redis.

    Attributes:
        fleet: The workers.
        callers: Those who have API keys.
    """

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        super().__init__(client, settings)
        self._memory = MemoryGauge(client, settings)
        self._limits = limits_of(settings)
        self.fleet = Fleet(client, settings)
        self.callers = CallerLookup(client, settings)

    def submit(self, submission: Submission) -> Submitted:
        """
        Write one job.

        Raises:
            IdempotencyConflict: Its key belongs to a job with other parameters.
            QuotaExceeded: Its caller has as many queued jobs as the submission's quota allows.
            BatchCanceled: Its batch takes no more.
            RedisUnavailable: Nothing was written, or it is unknown whether it was: submit again with the same id.
        """
        submitted = self.submit_many([submission])[0]
        if submitted.refused:
            raise submitted.refused
        return submitted

    def submit_many(self, submissions: Sequence[Submission]) -> list[Submitted]:
        """
        Write many jobs in one round trip. Why one is refused stands in the answer, beside its neighbours' release.

        Raises:
            RedisFull: Nothing was written.
        """
        return self.submit_encoded([self.encode(each) for each in submissions])

    def adopt(self, submissions: Sequence[Submission]) -> list[Submitted]:
        """`submit_many`, of messages that were taken: how many may be while Redis fills up was decided then."""
        return self._write([self.encode(each) for each in submissions])

    def encode(self, submission: Submission) -> Encoded:
        """A submission in the form in which many can be held."""
        return encode(submission, self._limits, self._settings.max_queued)

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
        tells: Mapping[str, Any] = MappingProxyType({}),
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
            tells=as_told(tells),
            tag=tag,
            retention_s=kept_s or self._settings.retention_s,
        )

    def claim(
        self,
        job_id: str,
        *,
        owner: str,
        gives_way: bool = False,
        read: Callable[[JobRecord], Any] = lambda record: record.payload,
    ) -> tuple[Claim | None, list[str]]:
        """
        Claim a queued job. None where there is nothing to run: it runs, has ended, is not there, or has no turn.

        Args:
            gives_way: Whether it needs a turn, which is its release, and gives that to a queued job of its caller's
                with a better priority. Not where somebody waits for this very message.
            read: What the claim's `spec` is. Where it raises `InvalidRequest`, this version does not understand the
                job, and fails it.

        Returns:
            The claim, and the ids that were released in turn; the one to which it gave way is the first of them.
        """
        token = secrets.token_hex(8)
        limits = {"lease_s": self._settings.lease_s, **self._limits}
        outcome, *rest = self._scripts.run(
            "claim", job_id=job_id, owner=owner, token=token, gives_way=gives_way, **limits
        )
        if outcome == "missing":
            return None, []
        released = list(json.loads(rest[0]))
        if outcome == "refused":
            return None, released
        fields = as_mapping(rest[1])
        self._note_messages(fields)
        return self._read(job_id, token, fields, read), released

    def _read(self, job_id: str, token: str, fields: dict[str, str], read: Callable[[JobRecord], Any]) -> Claim | None:
        """The claim of a record; None, and the job's end, where this version does not understand it whole."""
        try:
            record = JobRecord.from_hash(job_id, fields)
            spec = read(record)
        except (InvalidRequest, RecordUnreadable) as exc:
            self._refuse(job_id, token, exc)
            return None
        return Claim(
            job_id=job_id,
            token=token,
            epoch=int(fields["epoch"]),
            record=record,
            spec=spec,
            traceparent=fields.get("traceparent"),
            tells={protocol: wanted(fields, protocol) for protocol in fields.get("tell", "").split()},
            **times_in(fields),
        )

    def _refuse(self, job_id: str, token: str, reason: Exception) -> None:
        """End a job that this version does not understand: with what it leaves aside, another picture would come."""
        message = f"this worker does not understand the job; a newer one may, if it is replayed: {reason}"
        error = {"code": ErrorCode.INVALID_REQUEST, "message": message}
        self._scripts.run("finish", **self._end_args(job_id, token, Status.FAILED, error=error))
        log.warning("job not understood", job_id=job_id, reason=str(reason))

    def begin(self, claim: Claim, stage: str) -> Status | None:
        """
        Note that a job enters its first stage, from which on it could do harm: this attempt counts.

        Returns, raises: As `progress` does.
        """
        answer = self._scripts.run("begin", job_id=claim.job_id, token=claim.token, stage=stage)
        return _leave_as(claim, Verdict(answer))

    def progress(self, claim: Claim, stage: str, step: int = 0, steps: int = 0) -> Status | None:
        """
        Note where a job is.

        Returns:
            None to go on; `CANCELED` or `EXPIRED` where the job should leave.

        Raises:
            Fenced: Another attempt owns the job.
        """
        return _leave_as(claim, self.progress_many([Report(claim=claim, stage=stage, step=step, steps=steps)])[0])

    def send(self, claim: Claim, data: Mapping[str, Any]) -> Status | None:
        """
        Have an event `data` sent to everybody who follows a running job: something that it made on its way.

        Returns, raises: As `progress` does; and as `event_data` does.
        """
        return _leave_as(claim, self.progress_many([Report(claim=claim, data=event_data(data))])[0])

    def progress_many(self, reports: Sequence[Report]) -> list[Verdict]:
        """Note where jobs are, and send what they send, in one step."""
        return [Verdict(reply) for reply in self._scripts.run("progress", reports=[each.told() for each in reports])]

    def renew(self, claims: Sequence[Claim], where: Mapping[str, Report] = MappingProxyType({})) -> list[Verdict]:
        """
        Renew the leases of all jobs that a worker holds, in one step.

        Args:
            where: Where some of them are, by token: for whoever comes to read them, and no event.
        """
        held: list[Mapping[str, str | int]] = [
            {"job_id": each.job_id, "token": each.token, **(where[each.token].where() if each.token in where else {})}
            for each in claims
        ]
        answers = self._scripts.run("renew", claims=held, lease_s=self._settings.lease_s)
        return [Verdict(answer) for answer in answers]

    def give_back(self, claim: Claim) -> list[str]:
        """
        Give a job back, uncharged and in its old turn: this worker will not go on with it. One that was canceled ends.

        Returns:
            The ids that were released in turn.

        Raises:
            Fenced: Another attempt owns the job, or it has ended.
        """
        outcome, released = self._scripts.run("give_back", job_id=claim.job_id, token=claim.token, **self._limits)
        if outcome == "fenced":
            raise Fenced(claim.job_id)
        return list(json.loads(released))

    def refund(self, claim: Claim) -> None:
        """Uncount an attempt that lost its job though its worker is alive: it was not the job's doing."""
        self._scripts.run("refund", job_id=claim.job_id, token=claim.token)

    def finish(self, claim: Claim, status: Status, **result: Any) -> JobRecord:
        """`end`, of which others are to tell."""
        return self.end(claim, status, **result)[0]

    def end(
        self,
        claim: Claim,
        status: Status,
        *,
        tells: bool = False,
        artifacts: Iterable[dict[str, Any]] = (),
        timings: dict[str, float] | None = None,
        error: dict[str, str] | None = None,
        data: dict[str, Any] | None = None,
        reports: Sequence[Report] = (),
        at: Report | None = None,
    ) -> tuple[JobRecord, list[Untold]]:
        """
        End a job; what is committed first wins.

        Args:
            tells: Whether the caller tells those who want to hear of it, at once. Should it not, others do later.
            artifacts: What is stored, each as `Artifact` has it.
            data: What was made that needs no object of its own.
            reports: Of the way here that are not noted yet; they go first, in the same round trip.
            at: Where the job was at last, of which the record may not know.

        Returns:
            Its record, and what the caller is to tell.

        Raises:
            Fenced: Another attempt owns the job, or it has ended otherwise.
        """
        told = [("progress", arguments(reports=[each.told() for each in reports]))] if reports else []
        args = self._end_args(claim.job_id, claim.token, status, artifacts, timings, error, data)
        teller: dict[str, Argument] = {"teller": claim.token, "teller_lease_s": TELLER_LEASE_S} if tells else {}
        end = arguments(**args, **teller, **(at.where() if at else {}))
        outcome, *rest = self._scripts.run_many([*told, ("finish", end)])[-1]
        if outcome == "fenced":
            raise Fenced(claim.job_id)
        fields = as_mapping(rest[0])
        record = JobRecord.from_hash(claim.job_id, fields)
        protocols = fields.get("tell", "").split() if tells else []
        return record, [
            Untold(record=record, protocol=each, wants=wanted(fields, each), token=claim.token) for each in protocols
        ]

    def _end_args(
        self,
        job_id: str,
        token: str,
        status: Status,
        artifacts: Iterable[dict[str, Any]] = (),
        timings: dict[str, float] | None = None,
        error: dict[str, str] | None = None,
        data: dict[str, Any] | None = None,
    ) -> dict[str, Argument]:
        return {
            "job_id": job_id,
            "token": token,
            "status": status,
            "artifacts": json.dumps(list(artifacts)),
            "data": json.dumps(data) if data else None,
            "timings": json.dumps(timings or {}),
            "error": json.dumps(error) if error else "",
            "error_code": error["code"] if error else None,
            "retention_s": self._settings.retention_s,
        }

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

    def cancel_and_show(self, job_id: str, *, scope: str | None = None) -> tuple[JobRecord, list[str]]:
        """
        `cancel`, with the record as it is then: whoever asks for it afterwards may find Redis gone.

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


def _leave_as(claim: Claim, verdict: Verdict) -> Status | None:
    if verdict is Verdict.FENCED:
        raise Fenced(claim.job_id)
    return verdict.leave_as
