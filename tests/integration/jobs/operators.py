"""What time and operators do to the job table, by a model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from jobs import names
from jobs.errors import InvalidRequest, JobNotQueued
from jobs.kinds.picture import Stage
from jobs.scripts.ranks import PRIORITY_RANK
from jobs.table.drops import ENDS
from jobs.table.states import Status
from tests.integration.jobs.machine import CALLERS, QUEUED, RUNNING, TableMachine, twice
from tests.integration.jobs.model import ModelJob
from tests.integration.jobs.steps import QUEUE, let_lease_run_out


class OperatorsMachine(TableMachine):
    """Further rules: time, and what operators do."""

    # Time.

    @precondition(lambda self: self.model.where(RUNNING))
    @rule(data=st.data(), stages=st.sampled_from([[], [Stage.ENCODE]]), is_noticed=st.booleans(), again=twice)
    def lose_a_worker(self, data: st.DataObject, stages: list[Stage], is_noticed: bool, again: bool) -> None:
        job = self.draw(data, RUNNING)
        for _ in stages:
            self.enter_encode(job)
        job.is_lapsed = True
        let_lease_run_out(self.redis, job.job_id)
        if is_noticed:
            self.reconcile_once(again)

    @precondition(lambda self: self.model.where(RUNNING, QUEUED))
    @rule(data=st.data())
    def let_a_deadline_pass(self, data: st.DataObject) -> None:
        job = self.draw(data, RUNNING, QUEUED)
        job.is_late = True
        self.redis.hset(names.job_key(job.job_id), "end_by", 1)
        if job.status is QUEUED:
            self.redis.zadd("imagemill:deadlines", {job.job_id: 1.0})

    @rule(again=twice)
    def reconcile(self, again: bool) -> None:
        self.reconcile_once(again)

    def reconcile_once(self, again: bool) -> None:
        self.redis.is_repeating = again
        assert self.reconciler.run_once() is not None
        for job in sorted(self.model.where(RUNNING), key=lambda job: job.job_id):  # As what is due at once comes.
            if job.is_lapsed:
                self.model.lapse(job)
        self.model.begin_later()
        for job in sorted(self.model.where(QUEUED), key=lambda job: job.job_id):
            if job.is_late:
                self.model.end_queued(job, Status.EXPIRED)
        self.model.release()
        self.model.turns.forget()

    # Operators.

    @rule(paused=st.sampled_from([False, False, True]), again=twice)
    def pause_or_resume(self, paused: bool, again: bool) -> None:
        self.redis.is_repeating = again
        self.model.is_paused = paused
        (self.control.pause if paused else self.control.resume)(QUEUE)
        self.model.release()

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data(), again=twice)
    def replay(self, data: st.DataObject, again: bool) -> None:
        job = self.draw(data, *Status)
        self.redis.is_repeating = again
        if job.is_refused or job.status in (QUEUED, RUNNING, Status.SUCCEEDED):
            with pytest.raises(InvalidRequest):
                self.control.replay(job.job_id)
            return
        assert self.control.replay(job.job_id).status is QUEUED
        if job.claim is not None:
            job.lose_owner()
        self.model.jobs[job.job_id] = ModelJob(
            job_id=job.job_id,
            caller=job.caller,
            turn=(job.rank, self.model.next_number()),
            price=job.price,
            wants=job.wants,
            is_in_batch=job.is_in_batch,
            lost=job.lost,
            ends=job.ends,
        )
        self.model.join(job.caller)
        self.model.release()

    @precondition(lambda self: self.model.where(*ENDS))
    @rule(caller=st.sampled_from(CALLERS), again=twice)
    def drop(self, caller: str, again: bool) -> None:
        """All that has ended, where nobody is to be told of any of it."""
        ended = [job for job in self.model.where(*ENDS) if job.caller == caller]
        if any(job.wants is not None for job in ended):
            return
        self.redis.is_repeating = again
        dropped = self.table.drop_ended(caller)
        assert dropped.count == (0 if again else len(ended))
        for job in ended:
            self.model.gone.append(self.model.jobs.pop(job.job_id))

    @precondition(lambda self: self.model.jobs)
    @rule(
        data=st.data(),
        priority=st.sampled_from([None, *sorted(PRIORITY_RANK)]),
        to_front=st.booleans(),
        again=twice,
    )
    def reprioritize(self, data: st.DataObject, priority: Any, to_front: bool, again: bool) -> None:
        job = data.draw(st.sampled_from(self.model.where(QUEUED) or self.model.where(*Status)))
        self.redis.is_repeating = again
        if job.status is not QUEUED:
            with pytest.raises(JobNotQueued):
                self.table.reprioritize(job.job_id, priority=priority, to_front=to_front)
            return
        self.model.move(job, PRIORITY_RANK.get(priority), to_front=to_front)
        moved = self.table.reprioritize(job.job_id, priority=priority, to_front=to_front)
        assert PRIORITY_RANK[(moved.payload or {}).get("priority", "normal")] == job.rank
