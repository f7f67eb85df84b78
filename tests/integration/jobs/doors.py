"""What comes from outside and what goes out, beside all else that is done to the job table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from jobs import names
from jobs.errors import InvalidRequest, JobNotFound
from jobs.scripts.ranks import PRIORITY_RANK
from jobs.table.inbox import Held, Inbox
from jobs.table.outbox import Outbox, Untold
from jobs.table.states import Status
from tests.integration.jobs.machine import CALLERS, MOST_JOBS, PROTOCOL, QUEUED, SometimesTwice, TableMachine, twice
from tests.integration.jobs.model import ModelJob
from tests.integration.jobs.steps import QUEUE

TELLINGS = ["told", "later", "given up", "killed"]
ADOPTIONS = ["job", "refused", "dropped", "killed"]


@dataclass(slots=True, kw_only=True)
class Message:
    """One from outside; `held` is in somebody's hands."""

    caller: str
    held: Held | None = None
    is_lapsed: bool = False  # so that it is handed out again
    is_canceled: bool = False


class DoorsMachine(TableMachine):
    """Further rules: adoption, jobs for later, and the outbox."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = cast("SometimesTwice", SometimesTwice.from_url(self.settings.redis_url))
        self.inbox = Inbox(self.raw, self.settings, [QUEUE])
        self.outbox = Outbox(self.redis, self.settings, PROTOCOL)
        self.messages: dict[str, Message] = {}
        self.left: list[Untold] = []  # ends in the hands of tellers that were killed, or are slow

    def teardown(self) -> None:
        self.raw.close()
        super().teardown()

    # Adoption.

    @precondition(lambda self: len(self.model.jobs) + len(self.messages) < MOST_JOBS)
    @rule(caller=st.sampled_from(CALLERS))
    def send(self, caller: str) -> None:
        job_id = self.new_id()
        self.messages[job_id] = Message(caller=caller)
        self.redis.lpush(QUEUE, job_id)

    @precondition(lambda self: self.messages)
    @rule(data=st.data(), again=twice)
    def cancel_before_it_is_a_job(self, data: st.DataObject, again: bool) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.messages)))
        self.redis.is_repeating = again
        with pytest.raises(JobNotFound):
            self.table.cancel(job_id, remembers=True)
        self.messages[job_id].is_canceled = True

    @precondition(lambda self: self.messages)
    @rule(data=st.data(), again=twice)
    def adopt(self, data: st.DataObject, again: bool) -> None:
        self.raw.is_repeating = again
        found: list[Held] = []
        while some := self.inbox.take(10):  # Those whose holders died come one by one.
            found += some
        there = {job_id for job_id, each in self.messages.items() if each.held is None or each.is_lapsed}
        assert {held.raw.decode() for held in found} == there
        for held in sorted(found, key=lambda held: held.raw):
            message = self.messages[held.raw.decode()]
            message.held, message.is_lapsed = held, False
            self.settle(held, data.draw(st.sampled_from(ADOPTIONS)), again)

    @precondition(lambda self: any(each.held for each in self.messages.values()))
    @rule(data=st.data(), outcome=st.sampled_from(ADOPTIONS), again=twice)
    def settle_late(self, data: st.DataObject, outcome: str, again: bool) -> None:
        held = data.draw(st.sampled_from([each.held for each in self.messages.values() if each.held]))
        self.settle(held, outcome, again)

    def settle(self, held: Held, outcome: str, again: bool) -> None:
        job_id = held.raw.decode()
        message = self.messages[job_id]
        self.redis.is_repeating = self.raw.is_repeating = again
        if outcome == "killed":
            return
        del self.messages[job_id]
        if outcome == "dropped":
            self.inbox.drop(held)
        elif outcome == "refused":
            wrong, told = InvalidRequest("n", "is wrong"), {PROTOCOL: {"to": "somebody"}}
            self.table.reject(job_id, request={}, queue=QUEUE, error=wrong, tells=told, tag=held.tag)
            self.model.next_number()
            job = ModelJob(job_id=job_id, caller="celery", turn=(0, 0), is_refused=True, is_told=True)
            self.model.jobs[job_id] = job
            job.end(Status.FAILED)
        else:
            submission = self.a_job(caller=message.caller, tag=held.tag)
            self.write(replace(submission, job_id=job_id, tells={PROTOCOL: {}}), message)

    def write(self, submission: Any, message: Message) -> None:
        released = self.table.submit(submission).released
        turn = (PRIORITY_RANK["normal"], self.model.next_number())
        job = ModelJob(job_id=submission.job_id, caller=message.caller, turn=turn, is_told=True)
        if message.is_canceled:
            self.model.jobs[job.job_id] = job
            job.end(Status.CANCELED)
            assert released == []
        else:
            assert released == self.model.add(job)

    @precondition(lambda self: any(each.held for each in self.messages.values()))
    @rule()
    def let_those_who_adopt_die(self) -> None:
        for message in self.messages.values():
            if message.held is not None:
                message.is_lapsed = True
                self.redis.zadd(names.HELD_UNTIL, {message.held.tag: 1.0}, xx=True)

    # Jobs for later.

    @precondition(lambda self: len(self.model.jobs) + len(self.messages) < MOST_JOBS)
    @rule(caller=st.sampled_from(CALLERS), is_told=st.booleans(), again=twice)
    def submit_for_later(self, caller: str, is_told: bool, again: bool) -> None:
        self.redis.is_repeating = again
        tells: dict[str, Any] = {PROTOCOL: {}} if is_told else {}
        submission = replace(self.make(caller=caller, start_after=3600), tells=tells)
        assert self.table.submit(submission).released == []
        turn = (PRIORITY_RANK["normal"], self.model.next_number())
        job = ModelJob(job_id=submission.job_id, caller=caller, turn=turn, is_later=True, is_told=is_told)
        self.model.jobs[job.job_id] = job

    @precondition(lambda self: any(job.is_later for job in self.model.where(QUEUED)))
    @rule(data=st.data())
    def let_its_time_come(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from([job for job in self.model.where(QUEUED) if job.is_later]))
        job.is_due = True
        self.redis.zadd(names.later_key(QUEUE), {job.job_id: 1.0}, xx=True)

    # Ends.

    @rule(data=st.data(), again=twice)
    def tell(self, data: st.DataObject, again: bool) -> None:
        self.redis.is_repeating = again
        ends = self.outbox.take(10)
        free = [job for job in self.untold() if job.teller is None or job.has_slow_teller]
        due = {job.job_id for job in free if not job.is_put_off}
        assert {end.record.id for end in ends} == due
        for end in sorted(ends, key=lambda end: end.record.id):
            job = self.model.jobs[end.record.id]
            job.teller, job.has_slow_teller = end.token, False
            self.settle_end(end, data.draw(st.sampled_from(TELLINGS)))

    @precondition(lambda self: self.left)
    @rule(data=st.data(), outcome=st.sampled_from(TELLINGS), again=twice)
    def tell_late(self, data: st.DataObject, outcome: str, again: bool) -> None:
        self.redis.is_repeating = again
        end = data.draw(st.sampled_from(self.left))
        self.left = [each for each in self.left if each.token != end.token or each.record.id != end.record.id]
        self.settle_end(end, outcome)

    def settle_end(self, end: Untold, outcome: str) -> None:
        job = self.model.jobs[end.record.id]
        is_its_own = job.teller == end.token
        match outcome:
            case "told":
                self.outbox.told(end)
            case "given up":
                self.outbox.give_up(end)
            case "later":
                self.outbox.later(end, 3600)
            case _:
                self.left.append(end)
        if outcome == "killed" or not is_its_own:
            return
        job.teller = None
        job.is_untold, job.is_put_off = outcome == "later", outcome == "later"
        job.is_given_up = outcome == "given up"

    @rule()
    def let_tellers_die_and_time_pass(self) -> None:
        """Their leases run out; what was put off is due. A teller that was not dead may still say that it told."""
        for job in self.untold():
            job.is_put_off = False
            self.redis.zadd(names.outbox_key(PROTOCOL), {job.job_id: 1.0}, xx=True)
            job.has_slow_teller = job.teller is not None

    def untold(self) -> list[ModelJob]:
        return [job for job in self.model.jobs.values() if job.is_untold]

    @invariant()
    def what_came_and_what_goes_agrees_with_the_model(self) -> None:
        self.redis.is_repeating = self.raw.is_repeating = False
        sent = {job_id for job_id, each in self.messages.items() if each.held is None}
        held = {each.held.tag for each in self.messages.values() if each.held}
        assert set(self.redis.lrange(QUEUE, 0, -1)) == sent
        assert set(self.redis.hkeys(names.HELD)) == set(self.redis.zrange(names.HELD_UNTIL, 0, -1)) == held
        untold = {job.job_id for job in self.untold()}
        assert set(self.redis.zrange(names.outbox_key(PROTOCOL), 0, -1)) == untold
        given_up = {job.job_id for job in self.model.jobs.values() if job.is_given_up}
        assert set(self.redis.zrange(names.untold_key(PROTOCOL), 0, -1)) == given_up
