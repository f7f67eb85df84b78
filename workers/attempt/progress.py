"""
Reports to the job table where jobs are, and the data that they send: one thread, at most four times a second for each
job, all in one round trip.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from jobs.errors import RedisUnavailable
from jobs.table.claim import Claim, Report, Verdict, event_data
from jobs.table.table import JobTable
from workers.attempt.vital import run_vital
from workers.attempt.watched_jobs import WatchedJobs

log = structlog.get_logger()

_INTERVAL_S = 0.25
_MOST_DATA_BYTES = 256 << 10  # that an attempt sends in all: Redis keeps it, also where it is nearly full

OnVerdict = Callable[[Claim, Verdict], None]


class ProgressWriter:
    """
    Collects what the engine's threads note, and writes it behind their backs.

    Of the steps of a stage only the latest is written; every stage is, and all data. A report is worth less than a
    picture: while Redis is away, reports are dropped. Of jobs that nobody reads, data alone is written: see `unseen`.

    Args:
        watched_jobs: Knows which of them somebody reads; None where all are.
    """

    def __init__(
        self,
        table: JobTable,
        on_verdict: OnVerdict,
        give_up: Callable[[], None] = lambda: None,
        watched_jobs: WatchedJobs | None = None,
    ) -> None:
        self._table = table
        self._watched_jobs = watched_jobs
        self._on_verdict = on_verdict
        self._writing = threading.Lock()  # held from taking reports up until they are written
        self._stopping = threading.Event()
        self._wakeup = threading.Condition()  # guards what follows; notified for the first report only: see `_loop`
        self._waiting: dict[str, list[Report]] = {}
        self._at: dict[str, Report] = {}  # by token: where its attempt is
        self._reported: dict[str, Report] = {}  # by token: the last of those that was to be written
        self._followed: dict[str, int] = {}  # by token: how many bytes of data it may send yet
        work = ("progress", self._loop, self._stopping, give_up)
        self._thread = threading.Thread(target=run_vital, args=work, name="progress", daemon=True)
        self._thread.start()
        if watched_jobs is not None:
            watched_jobs.subscribe(self._report_at)

    def follow(self, claim: Claim) -> None:
        """Take notes of this attempt from now on."""
        with self._wakeup:
            self._followed[claim.token] = _MOST_DATA_BYTES
        if self._watched_jobs is not None:
            self._watched_jobs.follow(claim)

    def forget(self, claim: Claim) -> list[Report]:
        """The attempt ends. Returns what is not written yet; whatever was taken up for writing is written by then."""
        if self._watched_jobs is not None:
            self._watched_jobs.forget(claim)
        with self._writing, self._wakeup:
            self._followed.pop(claim.token, None)
            self._at.pop(claim.token, None)
            self._reported.pop(claim.token, None)
            return self._waiting.pop(claim.token, [])

    def note(self, claim: Claim, stage: str, step: int = 0, steps: int = 0) -> None:
        """Note where a followed attempt is. Does not wait."""
        with self._wakeup:
            if claim.token not in self._followed:
                return
            report = self._at[claim.token] = Report(claim=claim, stage=stage, step=step, steps=steps)
            if self._watched_jobs is None or self._watched_jobs.wants(claim):
                self._add(report)

    def where(self, claim: Claim) -> Report | None:
        """Where a followed attempt is, written or not; None where it noted nothing yet."""
        with self._wakeup:
            return self._at.get(claim.token)

    def unseen(self, claim: Claim) -> Report | None:
        """Where a followed attempt is, if that was not to be written: nobody read its job."""
        with self._wakeup:
            at = self._at.get(claim.token)
            return None if at is self._reported.get(claim.token) else at

    def _report_at(self, job_id: str) -> None:
        """Somebody came to read this job, who knows of no more than what was renewed last."""
        with self._wakeup:
            for report in [each for each in self._at.values() if each.claim.job_id == job_id]:
                self._add(report)

    def send(self, claim: Claim, data: Mapping[str, Any]) -> None:
        """
        Send data of a followed attempt to the clients that follow the job. Does not wait. Beyond 256 KiB it is dropped.

        Raises:
            ValueError: As `event_data` does.
        """
        text = event_data(data)
        with self._wakeup:
            left = self._followed.get(claim.token)
            if left is None:
                return
            if has_room := left >= len(text):
                self._followed[claim.token] = left - len(text)
                self._add(Report(claim=claim, data=text))
        if not has_room:
            log.warning("data not sent: the attempt has sent as much as it may", job_id=claim.job_id)

    def _add(self, report: Report) -> None:
        if not self._waiting:
            self._wakeup.notify()
        if report.data is None:
            self._reported[report.claim.token] = report
        reports = self._waiting.setdefault(report.claim.token, [])
        if reports and report.data is None and reports[-1].data is None and reports[-1].stage == report.stage:
            reports[-1] = report
        else:
            reports.append(report)

    def stop(self) -> None:
        """End the thread."""
        with self._wakeup:
            self._stopping.set()
            self._wakeup.notify()
        self._thread.join()

    def _loop(self) -> None:
        """
        Sleeps through the interval, whatever is noted meanwhile.

        Where a pass has sixteen jobs, being woken by each note took a sixth of two cores: a thread that wakes up takes
        a core from the pass, and the interpreter from the thread that runs it.
        """
        while True:
            with self._wakeup:
                self._wakeup.wait_for(lambda: self._waiting or self._stopping.is_set())
            if self._stopping.is_set():
                return
            with self._writing:
                self._write()
            self._stopping.wait(_INTERVAL_S)

    def _write(self) -> None:
        with self._wakeup:
            reports = [report for each in self._waiting.values() for report in each]
            self._waiting.clear()
        try:
            verdicts = self._table.progress_many(reports)
        except RedisUnavailable as exc:
            log.warning("progress not reported", jobs=len(reports), reason=str(exc))
            return
        for report, verdict in zip(reports, verdicts, strict=True):
            self._on_verdict(report.claim, verdict)
