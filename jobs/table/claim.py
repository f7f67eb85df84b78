"""The right to run a job, and what its holder and the job table exchange meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any

from pydantic_core import to_json

from jobs.table.record import JobRecord
from jobs.table.states import Status

MAX_DATA_BYTES = 4_096  # of one event, as JSON: it stays in Redis for as long as its job

_NUMBERS = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    The right to run one job: later writes name `token`; `epoch` counts the claims of this job.

    Attributes:
        spec: What is to be run, as the claimer reads the record's payload.
        traceparent: The W3C trace context that its submission left.
        notifications: Of its end: by protocol, what that has to know.
        watched_s: For how long from the claim on somebody who has read it counts as watching.
        left_s: How long from the claim on it may run; None for any time.
    """

    job_id: str
    token: str
    epoch: int
    record: JobRecord
    spec: Any
    traceparent: str | None = None
    notifications: Mapping[str, Any] = field(default_factory=dict)
    watched_s: float = 0.0
    left_s: float | None = None


def times_in(fields: Mapping[str, str]) -> dict[str, Any]:
    """Of a claim: what the record that was claimed says of `watched_s` and `left_s`."""
    started_at = float(fields["started_at"])
    ends = [float(fields[name]) - started_at for name in ("end_by", "run_by") if fields.get(name)]
    return {
        "watched_s": max(0.0, float(fields.get("watched") or 0.0) - started_at),
        "left_s": min(ends, default=None),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    Where a claimed job is: `step` of `steps` where the stage has steps; or what it sends on its way.

    Attributes:
        data: In place of all others, what `event_data` makes.
        number: Goes up with each report of this process; data that comes again under its number is not sent again.
    """

    claim: Claim
    stage: str = ""
    step: int = 0
    steps: int = 0
    data: str | None = None
    number: int = field(default_factory=lambda: next(_NUMBERS), compare=False)

    def to_arguments(self) -> dict[str, str | int]:
        """As `progress.lua` takes it."""
        whose: dict[str, str | int] = {"job_id": self.claim.job_id, "token": self.claim.token}
        if self.data is not None:
            return {**whose, "data": self.data, "number": self.number}
        return {**whose, **self.where()}

    def where(self) -> dict[str, str | int]:
        """Where the job is."""
        return {"stage": self.stage, "step": self.step, "steps": self.steps}


def event_data(data: Mapping[str, Any]) -> str:
    """
    What a job sends to those who follow it, as the JSON of an event.

    Raises:
        ValueError: It is no JSON, or more than `MAX_DATA_BYTES` of it.
    """
    text = to_json({"data": data})
    if len(text) > MAX_DATA_BYTES:
        raise ValueError(f"data: an event has {MAX_DATA_BYTES} bytes at most, not {len(text)}; send less at a time")
    return text.decode()


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
