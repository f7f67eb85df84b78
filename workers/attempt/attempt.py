"""One attempt at a claimed job: its inputs → its kind's runner → files → the store → its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import structlog
import tenacity

from jobs.catalogue.entry import Model
from jobs.errors import ErrorCode, Fenced, RedisUnavailable
from jobs.kinds.kind import POSTPROCESS, UPLOAD
from jobs.kinds.registry import KINDS
from jobs.table.claim import Claim
from jobs.table.record import Artifact, JobRecord
from jobs.table.states import Status
from storage.errors import StorageError, StorageMisconfigured, StorageUnavailable
from workers.attempt.context import Context
from workers.attempt.errors import Draining, JobLeft
from workers.attempt.inputs import fetch
from workers.attempt.spool import Spooled, SpoolFull
from workers.attempt.trace import NoTrace
from workers.attempt.upload import made_by, upload
from workers.engine.errors import EngineDied, GenerationFailed
from workers.runners.files import MadeFile
from workers.runners.registry import RUNNERS
from workers.runners.runner import Running, Tools

log = structlog.get_logger()

_FINISH_FOR_S = 60  # how long to try to write the end of a job down
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0  # between tries to store, while the store is away


class Attempt:
    """Runs one claim to its end. Owns the attempt's timings."""

    def __init__(self, claim: Claim, context: Context, trace: NoTrace | None = None) -> None:
        self._claim = claim
        self._context = context
        self._trace = trace or NoTrace()
        self._kind, self._runner = KINDS[claim.record.kind], RUNNERS[claim.record.kind]
        self._running: Running[Any] | None = None
        self._reason: Exception | None = None
        self._leaving = threading.Event()
        self._made_at = time.perf_counter()
        self._is_uploading = self._is_refused = False
        self._data: dict[str, Any] | None = None
        self._when_made: Callable[[], None] = lambda: None
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
        if self._running is not None:
            self._running.leave(self._reason)
        else:
            self._context.seats.look_again()
        self._context.memory.look_again()

    def _run(self) -> JobRecord:
        try:
            made = self._make()
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
        artifacts = [each.model_dump(mode="json", exclude_defaults=True) for each in made]
        return self._finish(Status.SUCCEEDED, artifacts=artifacts, data=self._data)

    def _make(self) -> list[Artifact]:
        kept = self._context.spool.take_left(self._claim.job_id, made_by(self._entry))
        if kept is None:
            made, kept = self._make_anew(self._fetch())
            if kept is None:
                return made
        with self._context.spool.holding(kept):
            return self._store_from(kept)

    def _fetch(self) -> Tools:
        """What the runner uses; the job's inputs are there before it takes a seat."""
        inputs = fetch(self._context.store, self._kind.inputs(self._claim.spec), self._wait)
        return Tools(engine=self._context.engine, entry=self._entry, inputs=inputs, send=self._send)

    def _make_anew(self, tools: Tools) -> tuple[list[Artifact], Spooled | None]:
        """What is stored; or what waits in the spool, for the store does not take it now."""
        suspect = self._claim.record.attempts > 0
        with self._context.seats.take(alone=suspect, reason=lambda: self._reason) as seat:
            result = self._run_through(tools)
            self._running = None  # It has the result, too.
            seat.leave_engine()
            self._when_made = seat.release
            self._enter(POSTPROCESS)
            self._made_at = time.perf_counter()
            self._data = self._runner.data(result, self._claim.spec)
            made = self._try_to_store(self._files(result, tools))
            return (made, None) if made is not None else ([], self._spool(result, tools))

    def _run_through(self, tools: Tools) -> Any:
        self._charge()
        running = self._running = self._runner.start(self._claim.spec, tools, self._note)
        if self._reason:  # It came before there was anything to leave.
            running.leave(self._reason)
        result = running.result()
        self._trace.stages(running.timings, running.batch_facts)
        self.timings |= running.timings
        return result

    def _charge(self) -> None:
        """Count the attempt before the job can do any harm; the answer may be that it is not wanted any more."""
        try:
            leave_as = self._context.table.begin(self._claim, self._runner.first_stage)
        except RedisUnavailable as exc:  # A report is worth less than the picture.
            log.warning("progress not reported", job_id=self._claim.job_id, reason=str(exc))
            return
        if leave_as is not None:
            raise JobLeft(leave_as)
        self._context.metrics.note_attempt(getattr(self._claim.spec, "model", ""))

    def _files(self, result: Any, tools: Tools) -> Iterator[MadeFile]:
        """The files, one by one as they are wanted; between any two the job may leave."""
        spec, runner = self._claim.spec, self._runner
        files = runner.files(result, spec, tools)
        count = runner.count(result, spec)
        for index in range(count):
            with self._context.memory.take(runner.file_bytes(spec), reason=self._why_leave):
                started = time.perf_counter()
                file = next(files)
                self._add(POSTPROCESS, time.perf_counter() - started)
            if index == count - 1:
                self._when_made()
            self._leave_if_asked()
            if not self._is_uploading:
                self._enter(UPLOAD)
                self._is_uploading = True
            yield file

    def _try_to_store(self, files: Iterable[MadeFile]) -> list[Artifact] | None:
        """Upload. None while the store is away, or where it refuses; then this worker begins to stop."""
        job_id = self._claim.job_id
        try:
            made = upload(self._context.store, self._claim, self._entry, files, self.timings, self._data)
        except SpoolFull:
            raise
        except StorageUnavailable as exc:
            log.warning("S3 is away; the image waits in the spool", job_id=job_id, reason=str(exc))
            return None
        except StorageMisconfigured as exc:
            log.error("S3 refuses; the image waits in the spool", job_id=job_id, reason=str(exc))
            self._is_refused = True
            self._context.stop_refused(exc)
            return None
        made_s = self.timings.get(POSTPROCESS, 0.0)
        self.timings[UPLOAD] = round(max(0.0, time.perf_counter() - self._made_at - made_s), 4)
        self._trace.stages({stage: self.timings.get(stage, 0.0) for stage in (POSTPROCESS, UPLOAD)})
        return made

    def _spool(self, result: Any, tools: Tools) -> Spooled:
        """Keep the files on disk."""
        try:
            files, maker = self._files(result, tools), made_by(self._entry)
            return self._context.spool.write(self._claim, files, self.timings, maker, self._data)
        except SpoolFull as exc:
            if self._is_refused:
                raise Draining(str(exc)) from exc
            raise

    def _store_from(self, kept: Spooled) -> list[Artifact]:
        """Try until the store takes the files or the worker stops, and keep the job meanwhile."""
        self.timings, self._data = {**kept.timings, **self.timings}, kept.data
        pause_s = 0.0 if kept.token != self._claim.token else _FIRST_PAUSE_S  # Another attempt's: not tried yet.
        while True:
            if self._is_refused:
                raise Draining("S3 refuses")
            if self._leaving.wait(pause_s):
                self._leave_if_asked()
            pause_s = min(max(2 * pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
            if (made := self._try_to_store(self._while_wanted(kept.made()))) is not None:
                return made

    def _while_wanted(self, files: Iterable[MadeFile]) -> Iterator[MadeFile]:
        for file in files:
            self._leave_if_asked()
            yield file

    @property
    def _entry(self) -> Model | None:
        return self._context.entry_of(self._claim.spec)

    def _add(self, stage: str, seconds: float) -> None:
        self.timings[stage] = round(self.timings.get(stage, 0.0) + seconds, 4)

    def _enter(self, stage: str) -> None:
        if stage in self._kind.stages:  # Else it stays where it was: progress would fall back to nothing.
            self._note(stage, 0, 0)

    def _note(self, stage: str, step: int, steps: int) -> None:
        self._context.progress.note(self._claim, stage, step, steps)

    def _send(self, data: Mapping[str, Any]) -> None:
        self._context.progress.send(self._claim, data)

    def _why_leave(self) -> Exception | None:
        """A worker that stops because the store refuses waits for what is made to be on its disk."""
        return None if self._is_refused and isinstance(self._reason, Draining) else self._reason

    def _wait(self, seconds: float) -> None:
        """For something that a job needs which has not begun."""
        self._leaving.wait(seconds)
        self._leave_if_asked()
        if self._context.seats.is_closed:
            raise Draining("the worker stops")

    def _leave_if_asked(self) -> None:
        if (why := self._why_leave()) is not None:
            raise why

    def _fail(self, code: str, reason: str) -> JobRecord:
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
