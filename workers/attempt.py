"""One attempt at a claimed job: encode → generate → postprocess → upload → finish."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
import tenacity

from jobs.claim import Claim
from jobs.errors import ErrorCode, Fenced, RedisUnavailable
from jobs.record import ImageRecord, JobRecord
from jobs.states import Stage, Status
from storage.errors import StorageError, StorageUnavailable
from workers.attempt_trace import NoTrace
from workers.context import Context
from workers.engine.ticket import Ticket
from workers.errors import Draining, EngineDied, GenerationFailed, JobLeft
from workers.postprocess import ImageFile, Pixels, postprocess
from workers.upload import upload

log = structlog.get_logger()

_FINISH_FOR_S = 60  # how long to try to write the end of a job down
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0  # between tries to store, while the store is away


class Attempt:
    """Runs one claim to its end. Owns the attempt's timings."""

    def __init__(self, claim: Claim, context: Context, trace: NoTrace | None = None) -> None:
        self._claim = claim
        self._context = context
        self._trace = trace or NoTrace()
        self._ticket: Ticket | None = None
        self._reason: Exception | None = None
        self._leaving = threading.Event()
        started_at = claim.record.started_at or claim.record.created_at
        self.timings = {"queued": round(started_at - claim.record.created_at, 4)}

    def run(self) -> JobRecord:
        """
        Take the job through its stages and end it, however it goes.

        Raises:
            Fenced: Another attempt owns the job; nothing of this one counts.
            Draining: This worker stops; the job is queued again, uncharged.
            EngineDied: This process cannot run jobs any more; the job is another attempt's.
        """
        self._context.leases.hold(self._claim, self.leave)
        self._context.progress.follow(self._claim)
        try:
            return self._run()
        except Fenced:
            self._refund()
            raise
        except Draining:
            self._give_back()
            raise
        finally:
            self._context.progress.forget(self._claim)
            self._context.leases.let_go(self._claim)

    def leave(self, reason: Exception) -> None:
        """Ask the attempt to end, from any thread; the first reason counts."""
        self._reason = self._reason or reason
        self._leaving.set()
        if self._ticket is not None:
            self._ticket.leave(self._reason)
        else:
            self._context.seats.look_again()

    def _run(self) -> JobRecord:
        try:
            images = self._make()
        except GenerationFailed as exc:
            return self._fail(exc.code, str(exc))
        except StorageError as exc:
            return self._fail(ErrorCode.STORAGE_UNAVAILABLE, str(exc))
        except JobLeft as exc:
            return self._finish(exc.status)
        except (Fenced, RedisUnavailable, EngineDied, Draining):
            raise
        except Exception as exc:
            log.exception("bug in the worker", job_id=self._claim.job_id)
            return self._fail(ErrorCode.GENERATION_ERROR, f"the worker failed: {exc!r}")
        self.timings["total"] = round(sum(self.timings.values()), 4)
        return self._finish(Status.SUCCEEDED, images=[image.model_dump(mode="json") for image in images])

    def _make(self) -> list[ImageRecord]:
        spec, entry = self._claim.spec, self._context.catalogue.models[self._claim.spec.model]
        pixels = self._compute()
        with self._stage(Stage.POSTPROCESS):
            files = postprocess(pixels, spec, entry)
        with self._stage(Stage.UPLOAD):
            return self._store(files)

    def _compute(self) -> list[Pixels]:
        suspect = self._claim.record.attempts > 0
        with self._context.seats.take(alone=suspect, reason=lambda: self._reason):
            self._charge()
            self._ticket = ticket = self._context.engine.submit(self._claim.spec, self._note)
            if self._reason:  # It came before there was a ticket.
                ticket.leave(self._reason)
            pixels = ticket.result()
        seconds = {str(stage): took_s for stage, took_s in ticket.timings.items()}
        self._trace.stages(seconds, ticket.batch_facts)
        self.timings |= seconds
        return pixels

    def _charge(self) -> None:
        """Count the attempt before the job can do any harm; the answer may be that it is not wanted any more."""
        try:
            leave_as = self._context.table.progress(self._claim, Stage.ENCODE)
        except RedisUnavailable as exc:  # A report is worth less than the picture.
            log.warning("progress not reported", job_id=self._claim.job_id, reason=str(exc))
            return
        if leave_as is not None:
            raise JobLeft(leave_as)
        self._context.metrics.note_attempt(self._claim.spec.model)

    def _store(self, files: list[ImageFile]) -> list[ImageRecord]:
        """Upload; while the store is away the files wait in the spool, and the worker keeps the job."""
        try:
            return self._upload(files)
        except StorageUnavailable as exc:
            log.warning("S3 is away; the image waits in the spool", job_id=self._claim.job_id, reason=str(exc))
        pause_s = _FIRST_PAUSE_S
        with self._context.spool.keep(self._claim, files, self.timings):
            while True:
                if self._leaving.wait(pause_s):
                    self._leave_if_asked()
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                with suppress(StorageUnavailable):
                    return self._upload(files)

    def _upload(self, files: list[ImageFile]) -> list[ImageRecord]:
        entry = self._context.catalogue.models[self._claim.spec.model]
        return upload(self._context.store, self._claim, entry, files, dict(self.timings))

    @contextmanager
    def _stage(self, stage: Stage) -> Iterator[None]:
        self._leave_if_asked()
        self._note(stage, 0, 0)
        started = time.perf_counter()
        yield
        self.timings[stage] = round(time.perf_counter() - started, 4)
        self._trace.stages({stage: self.timings[stage]})

    def _note(self, stage: Stage, step: int, steps: int) -> None:
        self._context.progress.note(self._claim, stage, step, steps)

    def _leave_if_asked(self) -> None:
        if self._reason:
            raise self._reason

    def _fail(self, code: ErrorCode, reason: str) -> JobRecord:
        error = {"code": code, "message": reason}
        log.warning("job failed", job_id=self._claim.job_id, code=code, reason=reason)
        return self._finish(Status.FAILED, error=error)

    def _finish(self, status: Status, **result: Any) -> JobRecord:
        unwritten = self._context.progress.forget(self._claim)
        return self._write_end(status, reports=unwritten, **result)

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(RedisUnavailable),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
        stop=tenacity.stop_after_delay(_FINISH_FOR_S),
        reraise=True,
    )
    def _write_end(self, status: Status, **result: Any) -> JobRecord:
        with self._trace.finishing():
            return self._context.table.finish(self._claim, status, timings=self.timings, **result)

    def _refund(self) -> None:
        log.warning("job taken by another attempt", job_id=self._claim.job_id)
        with suppress(RedisUnavailable):
            self._context.table.refund(self._claim)

    def _give_back(self) -> None:
        log.info("job given back", job_id=self._claim.job_id)
        with suppress(RedisUnavailable, Fenced):  # Its lease will lapse.
            self._context.pass_on(self._context.table.give_back(self._claim))
