"""The job table in a few lines of Python: what the scripts are measured by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobs.scripts.ranks import FRONT, PRIORITY_RANK
from jobs.table.claim import Claim, Verdict
from jobs.table.states import Status

KEPT = 1e-3  # as in the scripts
WINDOW, MAX_ATTEMPTS, MAX_DELIVERIES = 2, 2, 5


@dataclass(slots=True, kw_only=True)
class ModelJob:
    """One job; `turn` is its rank and its number, and `price` what that costs its caller."""

    job_id: str
    caller: str
    turn: tuple[int, int]
    price: float = 1.0
    status: Status = Status.QUEUED
    is_released: bool = False
    is_called: bool = False  # up, by one that gave way
    is_paid: bool = False  # its turn
    claim: Claim | None = None
    is_lapsed: bool = False
    is_cancel_asked: bool = False
    is_late: bool = False
    is_dead: bool = False
    is_in_batch: bool = False
    is_refused: bool = False  # before it was one
    is_later: bool = False  # not to begin yet
    is_due: bool = False  # its time has come
    wants: Any = None  # of whoever wants to be told of its end
    is_untold: bool = False  # he is not told yet
    is_put_off: bool = False
    is_given_up: bool = False
    notifier: str | None = None  # the token of who tells it
    has_slow_notifier: bool = False  # so that others may
    tries: int = 0  # to tell it
    ends: list[Status] = field(default_factory=list)  # all that it ever had
    charged: set[str] = field(default_factory=set)
    deliveries: int = 0
    lost: list[Claim] = field(default_factory=list)  # claims that do not count any more

    @property
    def rank(self) -> int:
        """That of its priority; what was moved to the front stands before it."""
        return next(rank for rank in PRIORITY_RANK.values() if self.turn[0] in (rank, rank - FRONT))

    def verdict(self) -> Verdict:
        if self.is_cancel_asked:
            return Verdict.CANCEL
        return Verdict.EXPIRED if self.is_late else Verdict.GO

    def end(self, status: Status) -> None:
        self.status, self.is_released, self.is_called, self.is_later = status, False, False, False
        self.ends.append(status)
        if self.wants is not None:
            self.post()

    def post(self) -> None:
        """Its end is to be told, as if nobody had ever tried to."""
        self.is_untold, self.is_put_off, self.is_given_up, self.tries = True, False, False, 0
        self.notifier, self.has_slow_notifier = None, False

    def note_wants(self, wants: Any) -> None:
        """Its message has come again."""
        self.wants = wants
        if self.status.is_terminal:
            self.post()

    def lose_owner(self) -> None:
        assert self.claim is not None
        self.lost.append(self.claim)
        self.claim, self.is_lapsed = None, False


class Turns:
    """
    Callers whose jobs wait, by what they have had.

    Attributes:
        newcomers: Those that have had nothing, in the order of their coming; whether more than one job of theirs waits.
        shares: What the others have had.
        gone: What those had of whom nothing waits any more.
        front: What the one had had whose turn was the last.
        firsts: How many newcomers had a turn since.
        alone: How many of those with a single job had one since one with more.
    """

    def __init__(self) -> None:
        self.newcomers: dict[str, bool] = {}
        self.shares: dict[str, float] = {}
        self.gone: dict[str, float] = {}
        self.front, self.firsts, self.alone = 0.0, 0, 0

    @property
    def callers(self) -> set[str]:
        return {*self.newcomers, *self.shares}

    @property
    def in_turn(self) -> list[str]:
        """All of them, as far as the order hangs on nothing else."""
        newcomers = sorted(self.newcomers, key=lambda each: self.newcomers[each])
        return newcomers + sorted(self.shares, key=lambda each: (self.shares[each], each))

    def join(self, caller: str, *, is_new: bool, has_more: bool) -> None:
        if caller in self.newcomers:
            self.newcomers[caller] = True
        elif caller not in self.shares:
            had = max(self.front, self.gone.get(caller, 0.0))
            if is_new and had == self.front:
                self.newcomers[caller] = has_more
            else:
                self.shares[caller] = had

    def leave(self, caller: str) -> None:
        had = self.shares.pop(caller, None)
        self.newcomers.pop(caller, None)
        if had is not None:
            self.gone[caller] = had
        if not self.callers:
            self.gone.clear()
            self.front, self.firsts, self.alone = 0.0, 0, 0

    def forget(self) -> None:
        """Whoever had no more than others have had since."""
        self.gone = {caller: had for caller, had in self.gone.items() if had > self.front}

    def _had(self, caller: str) -> dict[str, float] | None:
        return next((each for each in (self.shares, self.gone) if caller in each), None)

    def pay(self, job: ModelJob) -> None:
        if had := self._had(job.caller):
            had[job.caller] += job.price
            job.is_paid = True

    def pay_back(self, job: ModelJob) -> None:
        if job.is_paid and (had := self._had(job.caller)):
            least = max(had[job.caller] - job.price, self.front + KEPT)
            had[job.caller] = min(had[job.caller], least)
        job.is_paid = False

    def next(self) -> str | None:
        """Whose turn it is; what he has had stands in `shares` from then on."""
        if not self.callers:
            return None
        caller = self.in_turn[0]
        sharer = next((each for each in self.in_turn if each in self.shares), None)
        if caller in self.newcomers and (sharer is None or self.firsts < WINDOW):
            begins = next((each for each, has_more in self.newcomers.items() if has_more), None)
            if begins and self.alone >= WINDOW:
                caller = begins
            has_more = self.newcomers.pop(caller)
            self.firsts = self.firsts + 1 if sharer else 0
            self.alone = self.alone + 1 if begins and not has_more else 0
            self.shares[caller] = self.front
            return caller
        assert sharer is not None
        self.front, self.firsts = self.shares[sharer], 0
        return sharer


class Model:
    """All jobs, of one queue."""

    def __init__(self) -> None:
        self.jobs: dict[str, ModelJob] = {}
        self.gone: list[ModelJob] = []  # dropped
        self.is_paused = False
        self.numbers = 0
        self.turns = Turns()

    def next_number(self) -> int:
        self.numbers += 1
        return self.numbers

    def where(self, *statuses: Status) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.status in statuses]

    def waiting(self, caller: str) -> list[str]:
        """In turn."""
        queued = [job for job in self.where(Status.QUEUED) if job.caller == caller and not job.is_later]
        waiting = [job for job in queued if not job.is_released]
        return [job.job_id for job in sorted(waiting, key=lambda job: job.turn)]

    def released(self, caller: str | None = None) -> set[str]:
        """A caller's, or everybody's."""
        queued = self.where(Status.QUEUED)
        return {job.job_id for job in queued if job.is_released and caller in (None, job.caller)}

    def count_queued(self, caller: str) -> int:
        """Those that are to begin later, too."""
        return sum(job.caller == caller for job in self.where(Status.QUEUED))

    @property
    def room(self) -> int:
        return 0 if self.is_paused else WINDOW - len(self.released())

    def add(self, job: ModelJob) -> list[str]:
        """One that has come; returns what is released."""
        self.jobs[job.job_id] = job
        if not self.turns.callers and self.room > 0:
            job.is_released = True
            return [job.job_id]
        self.join(job.caller)
        return self.release()

    def join(self, caller: str) -> None:
        has_more = len(self.waiting(caller)) > 1
        self.turns.join(caller, is_new=not self.released(caller), has_more=has_more)

    def release(self) -> list[str]:
        """In turn, as far as there is room; returns what is released."""
        filled: list[str] = []
        self.let_go()
        while self.room > 0 and (caller := self.turns.next()):
            job = self.jobs[self.waiting(caller)[0]]
            self.turns.pay(job)
            job.is_released = True
            filled.append(job.job_id)
            self.let_go()
        return filled

    def let_go(self) -> None:
        """Callers of whom nothing waits any more take no turns."""
        for caller in sorted(self.turns.callers):
            if not self.waiting(caller):
                self.turns.leave(caller)

    def move(self, job: ModelJob, rank: int | None, *, to_front: bool) -> None:
        """A queued job gets another place among its caller's: who moved to the front last is the first there."""
        rank = job.rank if rank is None else rank
        is_front = to_front or job.turn[0] != job.rank
        number = -self.next_number() if to_front else job.turn[1]
        job.turn = (rank - FRONT if is_front else rank, number)

    def better_than(self, job: ModelJob) -> ModelJob | None:
        """To which of its caller's jobs it has to give way."""
        own = [each for each in self.where(Status.QUEUED) if each.caller == job.caller]
        queued = [each for each in own if not each.is_called and not each.is_later]
        best = min(queued, key=lambda each: each.turn, default=None)
        return best if best and best.turn[0] < job.turn[0] else None

    def begin_later(self) -> None:
        """Those whose time has come wait as others do."""
        due = [job for job in self.where(Status.QUEUED) if job.is_later and job.is_due]
        for job in sorted(due, key=lambda job: (job.caller, job.job_id)):
            job.is_later = False
            self.join(job.caller)

    def step_back(self, job: ModelJob) -> None:
        """A released one waits again."""
        if job.is_released:
            job.is_released = job.is_called = False
            self.turns.pay_back(job)
            self.join(job.caller)

    def call_up(self, job: ModelJob) -> None:
        if not job.is_released:
            self.turns.pay(job)
        job.is_released = job.is_called = True

    def end_queued(self, job: ModelJob, status: Status) -> None:
        if job.is_released:
            self.turns.pay_back(job)
        job.end(status)

    def requeue(self, job: ModelJob) -> None:
        job.lose_owner()
        job.status = Status.QUEUED
        self.turns.pay_back(job)
        self.join(job.caller)

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
            self.requeue(job)
