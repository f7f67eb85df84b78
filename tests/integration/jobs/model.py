"""The job table in a few lines of Python: what the scripts are measured by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from jobs.table.claim import Claim, Verdict
from jobs.table.states import Status

WINDOW, MAX_ATTEMPTS, MAX_DELIVERIES = 2, 2, 5


@dataclass(slots=True, kw_only=True)
class ModelJob:
    """One job; `turn` is its rank and its number."""

    job_id: str
    caller: str
    turn: tuple[int, int]
    status: Status = Status.QUEUED
    is_released: bool = False
    is_called: bool = False  # up, by one that gave way
    claim: Claim | None = None
    is_lapsed: bool = False
    is_cancel_asked: bool = False
    is_late: bool = False
    is_dead: bool = False
    is_in_batch: bool = False
    charged: set[str] = field(default_factory=set)
    deliveries: int = 0
    lost: list[Claim] = field(default_factory=list)  # claims that do not count any more

    def verdict(self) -> Verdict:
        if self.is_cancel_asked:
            return Verdict.CANCEL
        return Verdict.EXPIRED if self.is_late else Verdict.GO

    def end(self, status: Status) -> None:
        self.status, self.is_released, self.is_called = status, False, False

    def lose_owner(self) -> None:
        assert self.claim is not None
        self.lost.append(self.claim)
        self.claim, self.is_lapsed = None, False

    def requeue(self) -> None:
        self.lose_owner()
        self.status = Status.QUEUED


class Model:
    """All jobs, of one queue."""

    def __init__(self) -> None:
        self.jobs: dict[str, ModelJob] = {}
        self.is_paused = False
        self.turns = 0

    def next_turn(self) -> int:
        self.turns += 1
        return self.turns

    def where(self, *statuses: Status) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.status in statuses]

    def waiting(self, caller: str) -> list[str]:
        """In turn."""
        waiting = [job for job in self.where(Status.QUEUED) if job.caller == caller and not job.is_released]
        return [job.job_id for job in sorted(waiting, key=lambda job: job.turn)]

    def released(self, caller: str) -> set[str]:
        return {job.job_id for job in self.where(Status.QUEUED) if job.caller == caller and job.is_released}

    def release(self, callers: Iterable[str]) -> list[str]:
        """Fill windows; returns who was released."""
        filled = []
        for caller in callers:
            while not self.is_paused and len(self.released(caller)) < WINDOW and (first := self.waiting(caller)[:1]):
                self.jobs[first[0]].is_released = True
                filled += first
        return filled

    def better_than(self, job: ModelJob) -> ModelJob | None:
        """To which of its caller's jobs it has to give way."""
        queued = [each for each in self.where(Status.QUEUED) if each.caller == job.caller and not each.is_called]
        best = min(queued, key=lambda each: each.turn, default=None)
        return best if best and best.turn[0] < job.turn[0] else None

    def lapse(self, job: ModelJob) -> None:
        """What a pass of the reconciler does with a job whose lease ran out."""
        if job.is_cancel_asked or job.is_late:
            job.lose_owner()
            job.end(Status.CANCELED if job.is_cancel_asked else Status.EXPIRED)
        elif len(job.charged) >= MAX_ATTEMPTS or job.deliveries >= MAX_DELIVERIES:
            job.lose_owner()
            job.end(Status.FAILED)
            job.is_dead = True
        else:
            job.requeue()
