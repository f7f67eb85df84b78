"""One attempt at a claimed job: it is made, stored, and its end is written. Each of the three may have to wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, suppress
from typing import Any

import structlog

from jobs.errors import Fenced, RedisUnavailable
from jobs.kinds.kind import POSTPROCESS, UPLOAD
from jobs.process.traces import Traces
from jobs.table.claim import Claim
from jobs.table.record import Artifact, JobRecord
from jobs.table.states import Status
from storage.errors import StorageError, StorageMisconfigured, StorageUnavailable
from workers.attempt.context import Context
from workers.attempt.errors import Draining, JobLeft, ModelGone
from workers.attempt.failure import failure_of
from workers.attempt.making import Making
from workers.attempt.spool import Spooled, SpoolFull, Unreadable
from workers.attempt.trace import AttemptTrace
from workers.attempt.upload import upload
from workers.engine.errors import EngineDied, GenerationFailed
from workers.runners.files import MadeFile

log = structlog.get_logger()

_FINISH_FOR_S = 60  # how long to try to write the end of a job down
_GONE_PAUSE_S = 1.0  # before a job is given back whose model is not here any more
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0  # between tries to store or to end, while the store or Redis is away


class Attempt:
    """
    Takes one claim to its end, however it goes: make → store → end.

    `step` does what can be done now, and `run` steps until it is over. With files that an earlier attempt left, it
    begins with storing them.

    Args:
        kept: Those files.
        on_leave: Called when the attempt is asked to stop.

    Attributes:
        timings: Seconds of each stage; the attempt owns them.
    """

    def __init__(
        self,
        claim: Claim,
        context: Context,
        trace: AttemptTrace | None = None,
        *,
        kept: Spooled | None = None,
        on_leave: Callable[[], None] = lambda: None,
    ) -> None:
        self.claim = claim
        self._context = context
        self._trace = trace or AttemptTrace(Traces(), claim, time.time())
        self._on_leave = on_leave
        queued_at = max(claim.record.created_at, claim.record.not_before or 0.0)
        self.timings = {"queued": round(max(0.0, (claim.record.started_at or queued_at) - queued_at), 4)}
        self._making = Making(claim, context, self._trace, self.timings, self._why_leave)
        self._reason: Exception | None = None
        self._leaving = threading.Event()
        self._is_refused = False  # by the store, all that this worker makes
        self._kept: Spooled | None = None  # made, and not stored
        self._end: tuple[Status, dict[str, Any]] | None = None  # decided, and not written
        self._decided_at = 0.0
        self._pause_s = 0.0
        if kept is not None:
            self._keep(kept)

    def hold(self) -> None:
        """Have the claim's lease renewed from now on."""
        progress = self._context.progress
        self._context.leases.hold(self.claim, self.leave, lambda: progress.unseen(self.claim))

    def let_go(self) -> None:
        self._context.leases.let_go(self.claim)

    def run(self) -> JobRecord:
        """
        Step until the job has ended; the claim is held meanwhile.

        Raises:
            Fenced: Another attempt owns the job; nothing of this one counts.
            Draining: This worker stops; the job is queued again, uncharged.
            EngineDied: This process cannot run jobs any more; the job is another attempt's.
            RedisUnavailable: Its end could not be written for a minute: it will run again.
        """
        self.hold()
        self._context.progress.follow(self.claim)
        try:
            while (record := self.step()) is None:
                self._wait()
            return record
        finally:
            self._context.progress.forget(self.claim)
            self.let_go()

    def step(self) -> JobRecord | None:
        """
        Go as far as it goes now.

        Returns:
            The record at the job's end; None while the store is away, or Redis for the end. Then again, in a while.

        Raises:
            Fenced, Draining, EngineDied: As `run` does.
        """
        try:
            if self._end is None:
                self._end = self._decide()
                self._decided_at, self._pause_s = time.monotonic(), 0.0 if self._end else self._longer_pause()
            return None if self._end is None else self._write(*self._end)
        except Fenced:
            log.warning("job taken by another attempt", job_id=self.claim.job_id)
            self._drop()
            with suppress(RedisUnavailable):
                self._context.table.refund(self.claim)
            raise
        except Draining as exc:
            if isinstance(exc, ModelGone):  # Its message may come here once more before its line is closed.
                self._leaving.wait(_GONE_PAUSE_S)
            self._give_back()
            raise
        except Unreadable as exc:
            log.warning("its files are lost, and it will run again", job_id=self.claim.job_id, reason=str(exc))
            self._drop()
            self._give_back()
            raise Draining(str(exc)) from exc

    def _wait(self) -> None:
        """Until it is worth another step."""
        if self._end is None:
            self._leaving.wait(self._pause_s)
        elif time.monotonic() - self._decided_at < _FINISH_FOR_S:
            time.sleep(self._pause_s)
        else:
            self._drop()
            raise RedisUnavailable("Redis cannot be reached, so the end of the job is not written")

    def leave(self, reason: Exception) -> None:
        """Ask the attempt to end, from any thread; the first reason counts."""
        self._reason = self._reason or reason
        self._leaving.set()
        self._making.leave(self._reason)
        self._context.engine_slots.look_again()
        self._context.memory.look_again()
        self._context.input_memory.look_again()
        self._on_leave()

    def _decide(self) -> tuple[Status, dict[str, Any]] | None:
        """Make and store, as far as that is not done. None while the store is away."""
        try:
            made = self._store()
        except (GenerationFailed, StorageError) as exc:
            return self._failed(exc)
        except JobLeft as exc:
            return exc.status, {}
        except (Fenced, RedisUnavailable, EngineDied, Draining, Unreadable):
            raise
        except Exception as exc:
            log.exception("bug in the worker", job_id=self.claim.job_id)
            return self._failed(exc)
        if made is None:
            return None
        self.timings["total"] = round(sum(self.timings.values()), 4)
        artifacts = [each.model_dump(mode="json", exclude_defaults=True) for each in made]
        return Status.SUCCEEDED, {"artifacts": artifacts, "data": self._data, "warnings": self._warnings}

    def _store(self) -> list[Artifact] | None:
        if self._kept is None and (left := self._take_left()) is not None:
            self._keep(left)
        if self._kept is None:
            return self._make()
        if self._is_refused:
            raise Draining("the image store refuses")
        self._leave_if_asked()
        return self._try_to_store(self._kept.made(self._context.memory, self._why_leave))

    def _make(self) -> list[Artifact] | None:
        """What is stored at once; None where it waits in the spool, for the store does not take it now."""
        is_suspect, slots = self.claim.record.attempts > 0, self._context.engine_slots
        with ExitStack() as held:
            with self._context.residents.coming(self._model):
                held.enter_context(self._making.inputs(self._pause))
                engine_slot = held.enter_context(slots.acquire(alone=is_suspect, reason=self._why_not_begin))
            self._making.run(engine_slot)
            made = self._try_to_store(self._making.files())
            if made is None:
                self._keep(self._spool())
            return made

    def _try_to_store(self, files: Generator[MadeFile]) -> list[Artifact] | None:
        """Upload. None while the store is away, or where it refuses; then this worker begins to stop."""
        job_id, entry = self.claim.job_id, self._context.entry_of(self.claim.spec)
        try:
            with closing(files):
                made = upload(self._context.store, self.claim, entry, files, self.timings, self._data, self._warnings)
        except SpoolFull:
            raise
        except StorageUnavailable as exc:
            log.warning("the store cannot be reached; the image waits in the spool", job_id=job_id, reason=str(exc))
            return None
        except StorageMisconfigured as exc:
            log.error("the store refuses; the image waits in the spool", job_id=job_id, reason=str(exc))
            self._is_refused = True
            self._context.stop_refused(exc)
            return None
        made_s = self.timings.get(POSTPROCESS, 0.0)
        self.timings[UPLOAD] = round(max(0.0, time.perf_counter() - self._making.made_at - made_s), 4)
        self._trace.stages({stage: self.timings.get(stage, 0.0) for stage in (POSTPROCESS, UPLOAD)})
        return made

    def _spool(self) -> Spooled:
        """Keep the files on disk."""
        maker = self._context.made_by(self.claim.spec)
        try:
            with closing(self._making.files()) as files:
                return self._context.spool.write(self.claim, files, self.timings, maker, self._data, self._warnings)
        except SpoolFull as exc:
            if self._is_refused:
                raise Draining(str(exc)) from exc
            raise

    @property
    def _data(self) -> dict[str, Any] | None:
        return self._making.data if self._kept is None else self._kept.data

    @property
    def _warnings(self) -> tuple[str, ...]:
        return self._making.warnings if self._kept is None else tuple(self._kept.warnings)

    def _take_left(self) -> Spooled | None:
        return self._context.spool.take_left(self.claim.job_id, self._context.made_by(self.claim.spec))

    def _keep(self, kept: Spooled) -> None:
        self._kept = kept
        for stage, took_s in kept.timings.items():
            self.timings.setdefault(stage, took_s)

    def _drop(self) -> None:
        if self._kept is not None:
            self._context.spool.drop(self._kept)

    def _pause(self, seconds: float) -> None:
        """For something that a job needs which has not begun."""
        self._leaving.wait(seconds)
        self._leave_if_asked()
        if (why := self._why_not_begin()) is not None:
            raise why
        if self._context.engine_slots.is_closed:
            raise Draining("the worker stops")

    @property
    def _model(self) -> str | None:
        return getattr(self.claim.spec, "model", None)

    def _why_not_begin(self) -> Exception | None:
        return self._reason or self._context.residents.why_gone(self._model)

    def _why_leave(self) -> Exception | None:
        """A worker that stops because the store refuses waits for what is made to be on its disk."""
        return None if self._is_refused and isinstance(self._reason, Draining) else self._reason

    def _leave_if_asked(self) -> None:
        if (why := self._why_leave()) is not None:
            raise why

    def _longer_pause(self) -> float:
        return min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)

    def _failed(self, exc: Exception) -> tuple[Status, dict[str, Any]]:
        why = failure_of(exc)
        log.warning("job failed", job_id=self.claim.job_id, code=why.code, reason=why.detail)
        return Status.FAILED, {"error": {"code": why.code, "message": why.message}}

    def _write(self, status: Status, result: dict[str, Any]) -> JobRecord | None:
        at = self._context.progress.where(self.claim)
        unwritten = self._context.progress.forget(self.claim)
        announcer = self._context.announcer
        notifies = announcer.takes(self.claim.notifications)
        try:
            with self._trace.finishing():
                record, untold = self._context.table.end(
                    self.claim, status, notifies=notifies, timings=self.timings, reports=unwritten, at=at, **result
                )
        except RedisUnavailable as exc:
            log.warning("the end of the job is not written yet", job_id=self.claim.job_id, reason=str(exc))
            self._pause_s = self._longer_pause()
            return None
        if notifies:
            announcer.hand(untold)
        else:
            announcer.note_end(self.claim.notifications)
        self._drop()
        return record

    def _give_back(self) -> None:
        log.info("job given back", job_id=self.claim.job_id)
        with suppress(RedisUnavailable, Fenced):  # Its lease will lapse.
            self._context.pass_on(self._context.table.give_back(self.claim))
