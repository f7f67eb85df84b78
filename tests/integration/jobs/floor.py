"""Workers on a virtual clock: real claims of a real table drive it, and nobody sleeps."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from heapq import heappop, heappush

from jobs.fleet.fleet import WorkerReport
from jobs.table.claim import Claim
from jobs.table.states import Status
from jobs.table.submission import Submission
from jobs.table.table import JobTable

JOB_S = 10.0  # of the device, for a job that costs 1


class Floor:
    """
    Takes messages in the order in which Celery would hand them out.

    Attributes:
        now_s: Virtual seconds.
        began_s: By job, when.
        used_s: By caller, seconds of the device of the jobs that began.
        order: Callers, as their jobs began.
    """

    def __init__(self, table: JobTable, slots: int = 4) -> None:
        self._table = table
        self._slots = slots
        self._costs: dict[str, float] = {}
        self._running: list[tuple[float, int, Claim]] = []
        self._messages: deque[str] = deque()
        self.now_s = 0.0
        self.began_s: dict[str, float] = {}
        self.used_s: defaultdict[str, float] = defaultdict(float)
        self.order: list[str] = []
        table.fleet.report(WorkerReport(name="worker@floor", state="ready", models=("shapes-flow",), slots=slots))

    @property
    def standing(self) -> int:
        """Messages that nobody has taken."""
        return len(self._messages)

    def submit(self, *submissions: Submission) -> list[str]:
        self._costs |= {each.job_id: each.cost for each in submissions}
        for at in range(0, len(submissions), 500):
            for answer in self._table.submit_many(submissions[at : at + 500]):
                self.send(answer.released)
        return [each.job_id for each in submissions]

    def send(self, job_ids: list[str]) -> None:
        self._messages.extend(job_ids)

    def run_until(self, is_over: Callable[[], bool]) -> None:
        """Let jobs begin and end until then."""
        while not is_over():
            if len(self._running) < self._slots and self._messages:
                self._take(self._messages.popleft())
                continue
            self.end_one()

    def run_for(self, jobs: int) -> None:
        """Until so many more have begun."""
        until = len(self.began_s) + jobs
        self.run_until(lambda: len(self.began_s) >= until)

    def run_until_begun(self, job_id: str) -> float:
        """Seconds until this one begins."""
        since_s = self.now_s
        self.run_until(lambda: job_id in self.began_s)
        return self.began_s[job_id] - since_s

    def let_line_go(self) -> None:
        """Until what stands in the line has begun, and count from then on: it was released before others came."""
        self.run_for(self.standing)
        self.used_s.clear()
        self.order.clear()

    def end_one(self) -> None:
        assert self._running, "nothing runs, and nothing can begin"
        self.now_s, _, claim = heappop(self._running)
        self._table.finish(claim, Status.SUCCEEDED)

    def _take(self, job_id: str) -> None:
        claim, released = self._table.claim(job_id, owner="worker@floor", gives_way=True)
        if claim is None:
            self._messages.extendleft(released[:1])  # What was called up goes where workers look first.
            self.send(released[1:])
            return
        self.send(released)
        took_s = self._costs[job_id] * JOB_S
        self.began_s[job_id] = self.now_s
        self.used_s[claim.record.caller] += took_s
        self.order.append(claim.record.caller)
        heappush(self._running, (self.now_s + took_s, len(self.began_s), claim))
