"""
What a worker does four times in each lease: check whether it is stuck, and report that it runs and whether jobs still
reach it, from its start on.

A device call that hangs lets the leases go and ends the process. Being idle, compiling, or waiting for storage is
healthy, however long it takes.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import structlog

from jobs.errors import RedisUnavailable
from jobs.fleet.fleet import Fleet, WorkerReport, WorkerState
from workers.attempt.engine_slots import EngineSlots
from workers.attempt.leases import LeaseKeeper
from workers.engine.engine import Engine
from workers.process.parent.failures import sentence_of
from workers.process.reports.intake import Intake

log = structlog.get_logger()

EX_HANGS = 75  # EX_TEMPFAIL of sysexits.h


class Heartbeat:
    """
    Owns what this worker says of itself.

    Attributes:
        resident: Adds to a report which models are loaded.
        reported_at: When the job table last took a report of this worker; Unix time, seconds.
    """

    def __init__(self, fleet: Fleet, engine: Engine, engine_slots: EngineSlots, report: WorkerReport) -> None:
        self._fleet = fleet
        self._engine = engine
        self._engine_slots = engine_slots
        self._report = report
        self._parent = os.getppid()
        self.resident: Callable[[WorkerReport], WorkerReport] = lambda report: report
        self.leases: LeaseKeeper | None = None
        self.intake: Intake | None = None
        self._detached: tuple[str, ...] = ()
        self.reported_at = time.time()

    def beat(self) -> bool:
        """One heartbeat. Returns whether leases may be renewed; a worker whose device hangs does not return."""
        stuck_s = self._engine.stuck_s(time.monotonic())
        if stuck_s is not None:
            log.error("leaving the process: a call of the device does not return", seconds=round(stuck_s))
            os._exit(EX_HANGS)
        if os.getppid() != self._parent:  # Nobody would start us again, or stop us.
            log.warning("the parent process is gone; stopping")
            self._parent = os.getppid()
            os.kill(os.getpid(), signal.SIGTERM)
        self.report_now()
        return True

    def report_now(self) -> None:
        """Report this worker as it is now; also between two beats, when somebody may wait for the change."""
        jobs = tuple(claim.job_id for claim in self.leases.held()) if self.leases else ()
        detached = self.intake.detached() if self.intake else ()
        self._log_detached(detached)
        state: WorkerState = "busy" if jobs else "ready"
        if self._engine_slots.is_closed:
            state = "draining"
        elif detached and detached == self._report.queues:
            state = "detached"
        said = self.resident(replace(self._report, state=state, jobs=jobs, detached=detached))
        try:
            self._fleet.report(replace(said, adopts=self.intake is None or self.intake.adopts()))
            self.reported_at = time.time()
        except RedisUnavailable as exc:
            log.warning("worker not reported", reason=str(exc))

    def _log_detached(self, detached: tuple[str, ...]) -> None:
        if detached != self._detached:
            log.warning(
                "consumers canceled: no jobs are received from these queues until add_consumer", queues=list(detached)
            )
        self._detached = detached


@contextmanager
def reported_while_starting(fleet: Fleet, report: WorkerReport, every_s: float) -> Iterator[WorkerReport]:
    """
    Say that a worker starts, again and again, for as long as it does; gives the report, which has the failure of the
    start before. One that fails says why, and is listed so for some minutes; one that is killed while it loads is
    forgotten as soon as any other.

    Raises:
        RedisUnavailable: It does not answer at the beginning.
    """
    last = fleet.find(report.name)
    if last is not None:
        report = replace(report, failure=last.failure, failed_at=last.failed_at)
    fleet.report(report)
    over = threading.Event()
    thread = threading.Thread(target=_report_until, args=(over, fleet, report, every_s), name="starting", daemon=True)
    thread.start()
    with failure_listed(fleet, report):
        try:
            yield report
        finally:
            over.set()
            thread.join()


@contextmanager
def failure_listed(fleet: Fleet, report: WorkerReport) -> Iterator[None]:
    """Have a worker whose start fails in here listed for some minutes, with why; one that is stopped, no more."""
    try:
        yield
    except Exception as exc:
        with suppress(RedisUnavailable):
            fleet.note_failure(report, sentence_of(exc))
        raise
    except BaseException:
        with suppress(RedisUnavailable):
            fleet.leave(report.name)
        raise


def _report_until(over: threading.Event, fleet: Fleet, report: WorkerReport, every_s: float) -> None:
    while not over.wait(every_s):
        try:
            fleet.report(report)
        except RedisUnavailable as exc:
            log.warning("worker not reported", reason=str(exc))
        except Exception:  # Who loads for long would be taken for gone.
            log.exception("bug in the report of a worker that starts")
