"""The right to run a job, and what its holder and the job table tell each other on the way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jobs.table.record import JobRecord
from jobs.table.states import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    The right to run one job: later writes name `token`; `epoch` counts the claims of this job.

    Attributes:
        spec: What is to be run, as whoever claimed reads the record's payload.
        traceparent: The W3C trace context that its submission left.
    """

    job_id: str
    token: str
    epoch: int
    record: JobRecord
    spec: Any
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where a claimed job is: `step` of `steps` where the stage has steps."""

    claim: Claim
    stage: str
    step: int = 0
    steps: int = 0


class Verdict(StrEnum):
    """What the table answers to a report."""

    GO = "go"
    CANCEL = "cancel"  # somebody asked for it
    EXPIRED = "expired"  # its deadline has passed
    FENCED = "fenced"  # another attempt owns the job

    @property
    def leave_as(self) -> Status | None:
        """The state in which a job should end now, if any."""
        return {Verdict.CANCEL: Status.CANCELED, Verdict.EXPIRED: Status.EXPIRED}.get(self)
