"""What comes from outside, beside all else that is done to the job table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from jobs import names
from jobs.errors import InvalidRequest, JobNotFound
from jobs.fleet.lists import list_of
from jobs.scripts.ranks import LINE
from jobs.table.inbox import Held, Inbox
from jobs.table.states import Status
from tests.integration.jobs.machine import CALLERS, COSTS, MOST_JOBS, PROTOCOL, QUEUED, twice
from tests.integration.jobs.model import ModelJob
from tests.integration.jobs.operators import OperatorsMachine
from tests.integration.jobs.snapshot import Snapshot
from tests.integration.jobs.steps import QUEUE
from tests.integration.jobs.twice import SometimesTwice

ADOPTIONS = ["job", "refused", "dropped", "passed on", "killed"]
PASSED_TO = list_of(names.line_of(QUEUE), LINE)  # where the table's own messages stand, too


@dataclass(slots=True, kw_only=True)
class Message:
    """One from outside; `held` is taken by a worker."""

    held: Held | None = None
    is_lapsed: bool = False  # so that it is handed out again


def said_in(message: str) -> tuple[str, str]:
    """The id that it gives its job, and the caller."""
    job_id, caller, _ = message.split()
    return job_id, caller


class DoorsMachine(OperatorsMachine):
    """Further rules: adoption, and jobs for later."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = cast("SometimesTwice", SometimesTwice.from_url(self.settings.redis_url))
        self.inbox = Inbox(self.raw, self.settings, [QUEUE])
        self.sent = 0
        self.messages: dict[str, Message] = {}  # by what they say; no two say the same
        self.settled: list[tuple[Held, str]] = []  # and what came of each
        self.tombstones: set[tuple[str, str | None]] = set()  # and whose messages alone they stop

    def teardown(self) -> None:
        self.raw.close()
        super().teardown()

    @property
    def unknown(self) -> list[str]:
        """Ids that messages give to jobs that are not there yet."""
        return sorted({said_in(each)[0] for each in self.messages} - self.model.jobs.keys())

    # Adoption.

    @precondition(lambda self: len(self.model.jobs) + len(self.unknown) < MOST_JOBS)
    @rule(caller=st.sampled_from(CALLERS))
    def send(self, caller: str) -> None:
        self.push(self.new_id(), caller)

    @precondition(lambda self: len(self.messages) < MOST_JOBS and (self.model.jobs or self.messages))
    @rule(data=st.data(), caller=st.sampled_from(CALLERS))
    def send_again(self, data: st.DataObject, caller: str) -> None:
        """Under an id that was sent before, or is a producer's: the message of a job that goes on, or has ended."""
        self.push(data.draw(st.sampled_from([*sorted(self.model.jobs), *self.unknown])), caller)

    def push(self, job_id: str, caller: str) -> None:
        self.sent += 1
        message = f"{job_id} {caller} {self.sent}"
        self.messages[message] = Message()
        self.redis.lpush(QUEUE, message)

    @precondition(lambda self: self.unknown)
    @rule(data=st.data(), scope=st.sampled_from([None, *CALLERS]), again=twice)
    def cancel_before_it_is_a_job(self, data: st.DataObject, scope: str | None, again: bool) -> None:
        job_id = data.draw(st.sampled_from(self.unknown))
        self.redis.is_repeating = again
        with pytest.raises(JobNotFound):
            self.table.cancel_and_show(job_id, scope=scope)
        self.tombstones.add((job_id, scope))

    @precondition(lambda self: self.messages)
    @rule(data=st.data(), again=twice)
    def adopt(self, data: st.DataObject, again: bool) -> None:
        self.raw.is_repeating = again
        found: list[Held] = []
        while some := self.inbox.take(3 * MOST_JOBS):  # Those whose holders died come one by one.
            found += some
        there = [raw for raw, each in self.messages.items() if each.held is None or each.is_lapsed]
        assert sorted(held.raw.decode() for held in found) == sorted(there)
        for held in sorted(found, key=lambda held: held.raw):
            message = self.messages[held.raw.decode()]
            message.held, message.is_lapsed = held, False
            self.settle(held, data.draw(st.sampled_from(ADOPTIONS)), again)

    @precondition(lambda self: any(each.held for each in self.messages.values()))
    @rule(data=st.data(), outcome=st.sampled_from(ADOPTIONS), again=twice)
    def settle_late(self, data: st.DataObject, outcome: str, again: bool) -> None:
        held = data.draw(st.sampled_from([each.held for each in self.messages.values() if each.held]))
        self.settle(held, outcome, again)

    @precondition(lambda self: self.settled)
    @rule(data=st.data(), again=twice)
    def settle_what_another_has_settled(self, data: st.DataObject, again: bool) -> None:
        """By somebody who was so slow that it was handed out anew, and who comes to the same."""
        self.redis.is_repeating = self.raw.is_repeating = again
        self.carry_out(*data.draw(st.sampled_from(self.settled)))

    def settle(self, held: Held, outcome: str, again: bool) -> None:
        self.redis.is_repeating = self.raw.is_repeating = again
        if outcome == "killed":
            return
        del self.messages[held.raw.decode()]
        self.carry_out(held, outcome)
        self.settled.append((held, outcome))

    def carry_out(self, held: Held, outcome: str) -> None:
        match outcome:
            case "dropped":
                self.inbox.drop(held)
            case "passed on":
                self.inbox.pass_on(held, PASSED_TO)
            case "refused":
                self.refuse(held)
            case _:
                self.make_a_job(held)

    def refuse(self, held: Held) -> None:
        job_id, _ = said_in(held.raw.decode())
        wrong, wants = InvalidRequest("n", "is wrong"), {"by": held.tag}
        self.table.reject(job_id, request={}, queue=QUEUE, error=wrong, notifications={PROTOCOL: wants}, tag=held.tag)
        if known := self.model.jobs.get(job_id):
            known.note_wants(wants)
            return
        turn = (0, self.model.next_number())
        job = ModelJob(job_id=job_id, caller="celery", turn=turn, is_refused=True, wants=wants)
        self.model.jobs[job_id] = job
        job.end(Status.FAILED)

    def make_a_job(self, held: Held) -> None:
        job_id, caller = said_in(held.raw.decode())
        submission = self.make(caller, job_id=job_id, cost=COSTS[self.sent % len(COSTS)], tag=held.tag)
        submission = replace(submission, notifications={PROTOCOL: {"by": held.tag}})
        released = self.table.submit(submission).released
        if known := self.model.jobs.get(job_id):
            known.note_wants(submission.notifications[PROTOCOL])
            return
        job = self.modelled(submission)
        stones = [each for each in ((job_id, None), (job_id, caller)) if each in self.tombstones]
        if stones:
            self.tombstones.remove(stones[0])
            self.model.jobs[job_id] = job
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

    @precondition(lambda self: len(self.model.jobs) + len(self.unknown) < MOST_JOBS)
    @rule(caller=st.sampled_from(CALLERS), cost=st.sampled_from(COSTS), is_told=st.booleans(), again=twice)
    def submit_for_later(self, caller: str, cost: float, is_told: bool, again: bool) -> None:
        self.redis.is_repeating = again
        notifications: dict[str, Any] = {PROTOCOL: {"by": "a producer"}} if is_told else {}
        submission = replace(self.make(caller, cost=cost, start_after=3600), notifications=notifications)
        assert self.table.submit(submission).released == []
        self.model.jobs[submission.job_id] = self.modelled(submission, is_later=True)

    @precondition(lambda self: any(job.is_later for job in self.model.where(QUEUED)))
    @rule(data=st.data())
    def let_its_time_come(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from([job for job in self.model.where(QUEUED) if job.is_later]))
        job.is_due = True
        later = (names.later_key(QUEUE), names.later_by_key(QUEUE, job.caller))
        for key, member in (
            (later[0], job.job_id),
            (later[1], job.job_id),
            (names.later_callers_key(QUEUE), job.caller),
        ):
            self.redis.zadd(key, {member: 1.0}, xx=True)

    def check(self, seen: Snapshot) -> None:  # 16
        """Each message is in one place."""
        super().check(seen)
        self.raw.is_repeating = False
        sent = [raw for raw, each in self.messages.items() if each.held is None]
        assert sorted(seen.lrange(QUEUE)) == sorted(sent)
        held = {each.held.tag: f"{QUEUE}\n{raw}" for raw, each in self.messages.items() if each.held}
        assert seen.hgetall(names.HELD) == held
        assert set(seen.zrange(names.HELD_UNTIL)) == held.keys()
        passed_on = [held.raw.decode() for held, outcome in self.settled if outcome == "passed on"]
        others = [each for each in seen.lrange(PASSED_TO) if not each.startswith("{")]
        assert others == passed_on[::-1]
        of_all = {names.tombstone_key(job_id) for job_id, scope in self.tombstones if scope is None}
        assert seen.keys(names.tombstone_key("")) == of_all
        for caller in CALLERS:
            own = {job_id for job_id, scope in self.tombstones if scope == caller}
            assert set(seen.zrange(names.tombstones_key(caller))) == own
