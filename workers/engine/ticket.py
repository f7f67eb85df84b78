"""One job in the engine, as its submitter holds it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import structlog

log = structlog.get_logger()

# The engine's words for where a job is.
ENCODE = "encode"
GENERATE = "generate"

OnProgress = Callable[[str, int, int], None]  # called with (stage, step, steps)

R = TypeVar("R")


class Ticket(Generic[R]):
    """
    A job's way through the engine.

    The engine's threads write it, the submitter waits on it, and anybody may ask it to leave.

    Attributes:
        model: Name of the adapter that runs it.
        work: What was handed in, for that adapter to understand.
        timings: Seconds: `encode` from submission to what it is conditioned on, `generate` from there to its result.
        steps_run: Steps that were computed for it.
        jobs_a_pass: How many jobs like this one share a pass on this device, at best.
        warnings: What its submitter should know though it went well; there when it is over.
        passes, rows_of_passes: Passes that it took part in, and the rows that these had in all, its neighbours' too.
    """

    def __init__(self, model: str, work: Any, on_progress: OnProgress | None = None) -> None:
        self.model = model
        self.work = work
        self.timings: dict[str, float] = {}
        self.steps_run = 0
        self.jobs_a_pass = 1
        self.warnings: tuple[str, ...] = ()
        self.passes = self.rows_of_passes = 0
        self._on_progress = on_progress or (lambda _stage, _step, _steps: None)
        self._leaving: BaseException | None = None
        self._result: R
        self._error: BaseException | None = None
        self._over = threading.Event()
        self._since = time.perf_counter()

    def leave(self, reason: BaseException) -> None:
        """Ask the job to leave at its next step; `result` then raises `reason`. The first reason counts."""
        self._leaving = self._leaving or reason

    @property
    def leaving(self) -> BaseException | None:
        return self._leaving

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def result(self, timeout_s: float | None = None) -> R:
        """
        Wait for what its adapter's `finish` made.

        Raises:
            TimeoutError: Not there after `timeout_s`.
            GenerationFailed: The job cannot be done.
            EngineDied: The engine stopped with the job in it.
        """
        if not self._over.wait(timeout_s):
            raise TimeoutError("the job is still in the engine")
        if self._error is not None:
            raise self._error
        return self._result

    def note(self, stage: str, step: int = 0, steps: int = 0) -> None:
        """Report to the submitter where the job is. What its callback raises ends this job, and no other."""
        try:
            self._on_progress(stage, step, steps)
        except Exception as exc:
            log.exception("bug in a job's callback; the job leaves")
            self.leave(exc)

    @property
    def batch_facts(self) -> dict[str, float]:
        """What its trace has of the batches that it was part of."""
        mean_rows = round(self.rows_of_passes / self.passes, 2) if self.passes else 0.0
        return {"imagemill.passes": self.passes, "imagemill.rows_a_pass": mean_rows}

    def passed(self, stage: str) -> None:
        """Close a stage's timing; the next one starts now."""
        now = time.perf_counter()
        self.timings[stage] = round(now - self._since, 4)
        self._since = now

    def succeed(self, result: R) -> None:
        self._result = result
        self._over.set()

    def go(self) -> None:
        """Let a job that is to leave go."""
        self.fail(self._leaving or RuntimeError("a job was let go that nobody asked to leave"))

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._over.set()
