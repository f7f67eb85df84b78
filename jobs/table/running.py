"""
The part of the job table that workers need: claims, their leases, reports and ends.

Writes of a running job name its attempt token, so that an attempt that lost the job can change nothing.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import redis
import structlog

from jobs.errors import ErrorCode, Fenced, InvalidRequest, RecordUnreadable
from jobs.process.settings import Settings
from jobs.scripts.limits import limits_of
from jobs.scripts.scripts import Argument, arguments, as_mapping
from jobs.table.claim import Claim, Report, Verdict, event_data, times_in
from jobs.table.outbox import NOTIFIER_LEASE_S, PendingNotice
from jobs.table.reader import JobReader
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.table.submission import wanted

log = structlog.get_logger()


class RunningJobs(JobReader):
    """From a claim to its end."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        super().__init__(client, settings)
        self._limits = limits_of(settings)

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
            notifications={protocol: wanted(fields, protocol) for protocol in fields.get("tell", "").split()},
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
        return [
            Verdict(reply) for reply in self._scripts.run("progress", reports=[each.to_arguments() for each in reports])
        ]

    def renew(self, claims: Sequence[Claim], where: Mapping[str, Report] = MappingProxyType({})) -> list[Verdict]:
        """
        Renew the leases of all jobs that a worker holds, in one step.

        Args:
            where: Where some of them are, by token: for new readers, and no event.
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
        """`end`, with its notifications left to others."""
        return self.end(claim, status, **result)[0]

    def end(
        self,
        claim: Claim,
        status: Status,
        *,
        notifies: bool = False,
        artifacts: Iterable[dict[str, Any]] = (),
        timings: dict[str, float] | None = None,
        error: dict[str, str] | None = None,
        data: dict[str, Any] | None = None,
        warnings: Sequence[str] = (),
        reports: Sequence[Report] = (),
        at: Report | None = None,
    ) -> tuple[JobRecord, list[PendingNotice]]:
        """
        End a job; what is committed first wins.

        Args:
            notifies: Whether the caller sends the notifications at once. If it does not, others do later.
            artifacts: What is stored, each as `Artifact` has it.
            data: What was made that needs no object of its own.
            warnings: What its caller should know though it went well.
            reports: Of the way here that are not noted yet; they go first, in the same round trip.
            at: Where the job was at last, of which the record may not know.

        Returns:
            Its record, and the notifications that the caller is to send.

        Raises:
            Fenced: Another attempt owns the job, or it has ended otherwise.
        """
        earlier = [("progress", arguments(reports=[each.to_arguments() for each in reports]))] if reports else []
        args = self._end_args(claim.job_id, claim.token, status, artifacts, timings, error, data, warnings)
        notifier: dict[str, Argument] = (
            {"notifier": claim.token, "notifier_lease_s": NOTIFIER_LEASE_S} if notifies else {}
        )
        end = arguments(**args, **notifier, protocols=list(claim.notifications), **(at.where() if at else {}))
        outcome, *rest = self._scripts.run_many([*earlier, ("finish", end)])[-1]
        if outcome == "fenced":
            raise Fenced(claim.job_id)
        fields = as_mapping(rest[0])
        record = claim.record.at_its_end(fields)
        protocols = fields.get("tell", "").split() if notifies else []
        return record, [
            PendingNotice(record=record, protocol=each, wants=wanted(fields, each), token=claim.token)
            for each in protocols
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
        warnings: Sequence[str] = (),
    ) -> dict[str, Argument]:
        return {
            "job_id": job_id,
            "token": token,
            "status": status,
            "artifacts": json.dumps(list(artifacts)),
            "data": json.dumps(data) if data else None,
            "warnings": json.dumps(list(warnings)) if warnings else None,
            "timings": json.dumps(timings or {}),
            "error": json.dumps(error) if error else "",
            "error_code": error["code"] if error else None,
            "retention_s": self._settings.retention_s,
        }


def _leave_as(claim: Claim, verdict: Verdict) -> Status | None:
    if verdict is Verdict.FENCED:
        raise Fenced(claim.job_id)
    return verdict.leave_as
