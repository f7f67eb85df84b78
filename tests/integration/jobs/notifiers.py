"""What goes out of the job table: ends that somebody is to be told of."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from jobs import names
from jobs.table.outbox import Outbox, PendingNotice
from jobs.table.states import Status
from tests.integration.jobs.doors import DoorsMachine
from tests.integration.jobs.machine import ENDS, MOST_JOBS, PROTOCOL, RUNNING, twice
from tests.integration.jobs.model import ModelJob
from tests.integration.jobs.snapshot import Snapshot

OUTCOMES = {"told": "told", "put off": "later", "given up": "given_up"}  # as they are counted
TELLINGS = [*OUTCOMES, "killed"]


class NotifiersMachine(DoorsMachine):
    """Further rules: the outbox."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(self.redis, self.settings, PROTOCOL)
        self.left: list[PendingNotice] = []  # ends in the hands of notifiers that were killed, or are slow
        self.notifications: Counter[str] = Counter()

    @property
    def untold(self) -> list[ModelJob]:
        return [job for job in self.model.jobs.values() if job.is_untold]

    @rule(data=st.data(), again=twice)
    def tell(self, data: st.DataObject, again: bool) -> None:
        self.redis.is_repeating = again
        ends = self.outbox.take(3 * MOST_JOBS)
        free = [job for job in self.untold if job.notifier is None or job.has_slow_notifier]
        due = {job.job_id for job in free if not job.is_put_off}
        assert {end.record.id for end in ends} == due
        for end in sorted(ends, key=lambda end: end.record.id):
            job = self.model.jobs[end.record.id]
            assert (end.record.status, end.wants, end.tries) == (job.status, job.wants, job.tries)
            job.notifier, job.has_slow_notifier = end.token, False
            self.settle_end(end, data.draw(st.sampled_from(TELLINGS)))

    @precondition(lambda self: self.model.where(RUNNING))
    @rule(data=st.data(), status=st.sampled_from(ENDS), outcome=st.sampled_from(TELLINGS), again=twice)
    def finish_and_tell(self, data: st.DataObject, status: Status, outcome: str, again: bool) -> None:
        """By whoever ran it: others tell it only when that has taken too long."""
        job = self.draw(data, RUNNING)
        assert job.claim is not None
        self.redis.is_repeating = again
        _, ends = self.table.end(job.claim, status, notifies=True)
        job.end(status)
        assert [end.wants for end in ends] == ([] if job.wants is None else [job.wants])
        for end in ends:
            job.notifier = end.token
            self.settle_end(end, outcome)

    @precondition(lambda self: self.left)
    @rule(data=st.data(), outcome=st.sampled_from(TELLINGS), again=twice)
    def tell_late(self, data: st.DataObject, outcome: str, again: bool) -> None:
        self.redis.is_repeating = again
        end = data.draw(st.sampled_from(self.left))
        self.left = [each for each in self.left if each.token != end.token or each.record.id != end.record.id]
        self.settle_end(end, outcome)

    def settle_end(self, end: PendingNotice, outcome: str) -> None:
        job = self.model.jobs[end.record.id]
        is_its_own = job.notifier == end.token
        match outcome:
            case "told":
                self.outbox.notified(end)
            case "given up":
                self.outbox.give_up(end)
            case "put off":
                self.outbox.later(end, 3600)
            case _:
                self.left.append(end)
        if outcome == "killed" or not is_its_own:
            return
        self.notifications[OUTCOMES[outcome]] += 1
        job.notifier, job.has_slow_notifier = None, False
        job.is_untold = job.is_put_off = outcome == "put off"
        job.tries = job.tries + 1 if outcome == "put off" else 0
        job.is_given_up = outcome == "given up"

    @rule()
    def let_tellers_die_and_time_pass(self) -> None:
        """Their leases run out; what was put off is due. A notifier that was not dead may still say that it told."""
        for job in self.untold:
            job.is_put_off = False
            self.redis.zadd(names.outbox_key(PROTOCOL), {job.job_id: 1.0}, xx=True)
            job.has_slow_notifier = job.notifier is not None

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data(), again=twice)
    def retell(self, data: st.DataObject, again: bool) -> None:
        asked = data.draw(st.lists(st.sampled_from(sorted(self.model.jobs)), unique=True))
        self.redis.is_repeating = again
        answer = self.outbox.retry([*asked, "no-such-job"])
        for job in map(self.model.jobs.__getitem__, asked):
            job.is_untold = job.is_untold or job.is_given_up
            job.is_given_up = False
            job.is_put_off = False
        assert answer == [job_id for job_id in asked if self.model.jobs[job_id].is_untold]

    def check(self, seen: Snapshot) -> None:  # 17
        """Each end is told, or in one place."""
        super().check(seen)
        jobs = self.model.jobs.values()
        assert set(seen.zrange(names.outbox_key(PROTOCOL))) == {job.job_id for job in self.untold}
        held = {job.job_id: job.notifier for job in jobs if job.notifier is not None}
        assert seen.hgetall(names.notifiers_key(PROTOCOL)) == held
        assert set(seen.zrange(names.given_up_key(PROTOCOL))) == {job.job_id for job in jobs if job.is_given_up}
        assert set(seen.zrange(names.late_key(PROTOCOL))) == {job.job_id for job in jobs if job.tries}
        counted = {outcome: str(count) for outcome, count in self.notifications.items()}
        assert seen.hgetall(names.notifications_key(PROTOCOL)) == counted
