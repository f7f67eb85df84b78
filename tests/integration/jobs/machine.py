"""What producers and workers do to the job table, by a model; operators.py, doors.py and notifiers.py have the rest."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jobs import names
from jobs.broker.dispatch import Dispatcher
from jobs.broker.reconcile import Reconciler
from jobs.errors import Fenced, QuotaExceeded
from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.scripts.ranks import PRIORITY_RANK
from jobs.table.claim import Claim, Verdict
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.submission import BatchLine, Submission
from jobs.table.table import JobTable
from tests.integration.jobs.lists import (
    BATCH,
    check_batch,
    check_ends,
    check_kept,
    check_lists,
    check_records,
    check_sets,
)
from tests.integration.jobs.model import Model, ModelJob
from tests.integration.jobs.snapshot import Snapshot
from tests.integration.jobs.steps import MakeJob
from tests.integration.jobs.twice import SometimesTwice

WEIGHTS = {"one": 1.0, "two": 4.0}
CALLERS = list(WEIGHTS)
COSTS = [0.5, 1.0, 3.0]  # Of jobs; by these weights they give prices that are told exactly.
ENDS = [Status.SUCCEEDED, Status.FAILED, Status.CANCELED]
PROTOCOL = "celery"
RUNNING, QUEUED = Status.PROCESSING, Status.QUEUED
MOST_JOBS = 7  # Few, so that each lives through much, and enough for callers to wait beside each other.
twice = st.booleans()


class TableMachine(RuleBasedStateMachine):
    """Rules are what producers and workers do."""

    settings: Settings
    a_job: MakeJob
    dispatcher: Dispatcher

    def __init__(self) -> None:
        super().__init__()
        client = SometimesTwice.from_url(self.settings.redis_url, decode_responses=True)
        self.redis = cast("SometimesTwice", client)
        self.redis.flushdb()
        self.table = JobTable(self.redis, self.settings)
        self.control = QueueControl(self.redis, self.table, self.dispatcher.offer, self.settings)
        self.reconciler = Reconciler(self.redis, self.dispatcher, self.settings)
        self.reconciler.run_once()
        self.redis.hset("imagemill:server", "hold_until", 0)
        self.model = Model()
        self.ids = 0

    def teardown(self) -> None:
        self.redis.close()

    def new_id(self) -> str:
        """Alike whenever the same is done: what is drawn may hang on the order of ids."""
        self.ids += 1
        return f"job-{self.ids:03}"

    def make(self, caller: str, *, job_id: str | None = None, cost: float = 1.0, **fields: Any) -> Submission:
        """One of that caller's, which pays by its weight."""
        made = self.a_job(caller=caller, **fields)
        return replace(made, job_id=job_id or self.new_id(), cost=cost, weight=WEIGHTS[caller])

    def modelled(self, submission: Submission, **fields: Any) -> ModelJob:
        """The model's, with the next number."""
        return ModelJob(
            job_id=submission.job_id,
            caller=submission.spec.caller,
            turn=(PRIORITY_RANK[submission.spec.priority], self.model.next_number()),
            price=submission.cost / submission.weight,
            wants=submission.notifications.get(PROTOCOL),
            **fields,
        )

    def draw(self, data: st.DataObject, *statuses: Status) -> ModelJob:
        return data.draw(st.sampled_from(self.model.where(*statuses)))

    def enter_encode(self, job: ModelJob) -> None:
        assert job.claim is not None
        assert self.table.begin(job.claim, Stage.ENCODE) is job.verdict().leave_as
        job.charged.add(job.claim.token)

    # Producers.

    @precondition(lambda self: len(self.model.jobs) < MOST_JOBS)
    @rule(
        caller=st.sampled_from(CALLERS),
        priority=st.sampled_from(sorted(PRIORITY_RANK)),
        cost=st.sampled_from(COSTS),
        quota=st.sampled_from([None, 1, 3]),
        is_in_batch=st.booleans(),
        is_told=st.booleans(),
        again=twice,
    )
    def submit(
        self,
        caller: str,
        priority: str,
        cost: float,
        quota: int | None,
        is_in_batch: bool,
        is_told: bool,
        again: bool,
    ) -> None:
        line = BatchLine(batch_id=BATCH, line=self.ids) if is_in_batch else None
        notifications: dict[str, Any] = {PROTOCOL: {"by": "a producer"}} if is_told else {}
        submission = self.make(caller, cost=cost, priority=priority)
        submission = replace(submission, quota=quota, batch=line, notifications=notifications)
        if quota is not None and self.model.count_queued(caller) >= quota:
            for _ in range(1 + again):
                with pytest.raises(QuotaExceeded):
                    self.table.submit(submission)
            return
        self.write(submission, again, is_in_batch=is_in_batch)

    def write(self, submission: Submission, again: bool, **fields: Any) -> None:
        self.redis.is_repeating = again
        released = self.table.submit(submission).released
        assert released == self.model.add(self.modelled(submission, **fields))

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data(), again=twice)
    def cancel(self, data: st.DataObject, again: bool) -> None:
        job = self.draw(data, *Status)
        released: list[str] = []
        self.redis.is_repeating = again
        was, answer = job.status, self.table.cancel(job.job_id)
        if was is QUEUED:
            self.model.end_queued(job, Status.CANCELED)
            released = self.model.release()
            assert answer[1] == released
        elif was is RUNNING:
            job.is_cancel_asked = True
        assert answer[0] is job.status

    # Workers.

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data(), gives_way=st.booleans(), again=twice)
    def claim(self, data: st.DataObject, gives_way: bool, again: bool) -> None:
        job = data.draw(st.sampled_from(self.model.where(QUEUED) or self.model.where(*Status)))
        self.claim_one(job, gives_way, again)

    @precondition(lambda self: self.model.released() and len(self.model.jobs) < MOST_JOBS)
    @rule(data=st.data(), cost=st.sampled_from(COSTS), again=twice)
    def overtake(self, data: st.DataObject, cost: float, again: bool) -> None:
        """A job comes that is to be preferred to one of its caller's, whose message is taken next."""
        job = self.model.jobs[data.draw(st.sampled_from(sorted(self.model.released())))]
        self.write(self.make(job.caller, cost=cost, priority="high"), again)
        self.claim_one(job, True, again)

    @precondition(lambda self: self.model.released())
    @rule(data=st.data(), again=twice)
    def claim_and_begin(self, data: st.DataObject, again: bool) -> None:
        job = self.model.jobs[data.draw(st.sampled_from(sorted(self.model.released())))]
        self.claim_one(job, False, again)
        if job.status is RUNNING:
            self.enter_encode(job)

    def claim_one(self, job: ModelJob, gives_way: bool, again: bool) -> None:
        self.redis.is_repeating = again
        claimed, released = self.table.claim(job.job_id, owner="somebody", gives_way=gives_way)
        if job.status is not QUEUED or self.model.is_paused:
            assert claimed is None
            if job.status is QUEUED:
                self.model.step_back(job)
            return
        if gives_way and not job.is_late and not job.is_released:
            assert (claimed, released) == (None, [])
            return
        if gives_way and not job.is_late and (better := self.model.better_than(job)):
            assert claimed is None
            self.model.step_back(job)
            self.model.call_up(better)
            assert released == [better.job_id, *self.model.release()]
            return
        if job.is_late:
            self.model.end_queued(job, Status.EXPIRED)
            assert claimed is None
        else:
            assert claimed is not None
            job.status, job.claim = RUNNING, claimed
            job.is_released = job.is_called = job.is_later = False
            job.deliveries += 1
        assert released == self.model.release()

    @precondition(lambda self: self.model.where(RUNNING))
    @rule(data=st.data(), again=twice)
    def begin(self, data: st.DataObject, again: bool) -> None:
        job = self.draw(data, RUNNING)
        for _ in range(1 + again):
            self.enter_encode(job)

    @precondition(lambda self: self.model.where(RUNNING))
    @rule(data=st.data(), stage=st.sampled_from(list(Stage)), again=twice)
    def progress(self, data: st.DataObject, stage: Stage, again: bool) -> None:
        job = self.draw(data, RUNNING)
        assert job.claim is not None
        for _ in range(1 + again):
            assert self.table.progress(job.claim, stage) is job.verdict().leave_as

    @precondition(lambda self: self.model.where(RUNNING))
    @rule(again=twice)
    def renew(self, again: bool) -> None:
        running = self.model.where(RUNNING)
        self.redis.is_repeating = again
        claims = [job.claim for job in running if job.claim]
        lost = [claim for job in self.model.jobs.values() for claim in job.lost]
        answers = self.table.renew([*claims, *lost])
        assert answers == [*(job.verdict() for job in running), *(Verdict.FENCED for _ in lost)]
        for job in running:
            job.is_lapsed = False

    @precondition(lambda self: self.model.where(RUNNING))
    @rule(data=st.data(), status=st.sampled_from(ENDS), again=twice)
    def finish(self, data: st.DataObject, status: Status, again: bool) -> None:
        job = self.draw(data, RUNNING)
        assert job.claim is not None
        self.redis.is_repeating = again
        assert self.table.finish(job.claim, status).status is status
        job.end(status)

    @precondition(lambda self: self.model.where(RUNNING))
    @rule(data=st.data(), again=twice)
    def give_back(self, data: st.DataObject, again: bool) -> None:
        job = self.draw(data, RUNNING)
        assert job.claim is not None
        self.redis.is_repeating = again
        released = self.table.give_back(job.claim)
        job.charged.discard(job.claim.token)
        job.deliveries -= 1
        if job.is_cancel_asked:
            job.lose_owner()
            job.end(Status.CANCELED)
            assert released == []
        else:
            self.model.requeue(job)
            assert released == self.model.release()

    @precondition(lambda self: any(job.lost for job in self.model.jobs.values()))
    @rule(data=st.data(), again=twice)
    def write_late(self, data: st.DataObject, again: bool) -> None:
        job, late = self.draw_lost(data)
        before = self.redis.hgetall(names.job_key(job.job_id))
        for write in (
            lambda: self.table.begin(late, Stage.ENCODE),
            lambda: self.table.progress(late, Stage.ENCODE),
            lambda: self.table.finish(late, Status.SUCCEEDED),
        ):
            with pytest.raises(Fenced):
                write()
        with suppress(Fenced):  # Or it was given back already, and hears so again.
            self.table.give_back(late)
        assert self.redis.hgetall(names.job_key(job.job_id)) == before  # 2
        self.redis.is_repeating = again
        self.table.refund(late)
        job.charged.discard(late.token)

    def draw_lost(self, data: st.DataObject) -> tuple[ModelJob, Claim]:
        lost = [(job, claim) for job in self.model.jobs.values() for claim in job.lost]
        return data.draw(st.sampled_from(lost))

    @invariant()
    def all_that_is_there_agrees_with_the_model(self) -> None:
        self.redis.is_repeating = False
        self.check(Snapshot(self.redis))

    def check(self, seen: Snapshot) -> None:
        """The invariants, by their numbers."""
        check_sets(seen, self.model)  # 1, 4, 5, 9
        check_records(seen, self.model)  # 2, 3, 6, 8
        check_ends(seen, self.model)  # 3
        check_lists(seen, self.model)  # 12
        check_batch(seen, self.model)  # 13
        check_kept(seen, self.model)  # 18
