"""From a claim to files: inputs → an engine slot → the runner → files, one by one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import structlog

from jobs.errors import ErrorCode, RedisUnavailable
from jobs.kinds.kind import POSTPROCESS, UPLOAD
from jobs.kinds.registry import KINDS
from jobs.table.claim import Claim
from workers.attempt.context import Context
from workers.attempt.engine_slots import EngineSlot
from workers.attempt.errors import JobLeft
from workers.attempt.inputs import Fetcher, not_usable
from workers.attempt.trace import AttemptTrace
from workers.engine.errors import INVALID_OUTPUT, GenerationFailed
from workers.runners.files import MadeFile
from workers.runners.registry import RUNNERS
from workers.runners.runner import MAX_RECORD_DATA_BYTES, Running, Tools

log = structlog.get_logger()

_INPUTS = "inputs"  # until they are open; what waits for memory or the store waits here


class Making:
    """
    What one attempt makes. Runs on the attempt's own thread, but for `leave`.

    Args:
        timings: Of the attempt, to which what is made adds its own.
        why_leave: Why files are not wanted any more; asked between any two of them.

    Attributes:
        made_at: When what is to become files was there, by `time.perf_counter`.
        data: What was made that needs no object of its own.
        warnings: What its record says though it went well.
    """

    def __init__(
        self,
        claim: Claim,
        context: Context,
        trace: AttemptTrace,
        timings: dict[str, float],
        why_leave: Callable[[], Exception | None],
    ) -> None:
        self._claim = claim
        self._context = context
        self._trace = trace
        self._timings = timings
        self._why_leave = why_leave
        self._kind, self._runner = KINDS[claim.record.kind], RUNNERS[claim.record.kind]
        self._tools: Tools | None = None
        self._running: Running[Any] | None = None
        self._reason: Exception | None = None
        self._result: Any = None
        self._when_begun: Callable[[], None] = lambda: None
        self._when_made: Callable[[], None] = lambda: None
        self._is_uploading = False
        self.made_at = time.perf_counter()
        self.data: dict[str, Any] | None = None
        self.warnings: tuple[str, ...] = ()

    @contextmanager
    def inputs(self, pause: Callable[[float], None]) -> Iterator[None]:
        """
        Have the job's inputs, until the end of the block: fetched and opened, before its engine slot.

        They count in a budget of their own: who has inputs waits for memory of files, and nobody waits the other way.
        Reading and laying out take most of it, and others need not wait for more than that.

        Args:
            pause: As of `Fetcher`.

        Raises:
            GenerationFailed: `invalid_input`, for what is not there, or is not what its field takes.
        """
        spec, fetcher = self._claim.spec, Fetcher(self._context.store, self._context.table, pause)
        named = self._kind.inputs(spec)
        began = time.perf_counter()
        wanted_bytes = self._runner.input_bytes(spec) + sum(each.bytes for each in named.values())
        with self._context.input_memory.take(wanted_bytes, reason=self._why_leave) as taken:
            opened = {field: self._open(field, fetcher.fetch(field, each)) for field, each in named.items()}
            if (still_bytes := self._runner.begun_bytes(spec)) is not None:
                self._when_begun = partial(taken.keep, still_bytes)
            if named:
                self._timings[_INPUTS] = round(time.perf_counter() - began, 4)
                self._trace.stages({_INPUTS: self._timings[_INPUTS]})
            entry = self._context.entry_of(spec)
            self._tools = Tools(
                engine=self._context.engine,
                entry=entry,
                inputs=opened,
                signer=self._context.signer,
                send=self._send,
            )
            try:
                yield
            finally:  # An attempt and this know each other: what it holds would be there until the next collection.
                self._tools = self._running = self._result = None
                self._when_begun = lambda: None

    def _open(self, field: str, data: bytes) -> Any:
        try:
            return self._runner.open(field, data, self._claim.spec)
        except GenerationFailed as exc:
            if exc.code == ErrorCode.INVALID_INPUT:
                raise not_usable(field, str(exc)) from exc
            raise

    def run(self, engine_slot: EngineSlot) -> None:
        """
        Begin, which counts, and wait for what comes out; the slot is free when all files are made.

        Raises:
            GenerationFailed, EngineDied: As the run does.
            JobLeft: The job is not wanted any more.
            Draining: Its model has made room for another one.
            Exception: The reason given to `leave`.
        """
        with self._context.residents.use(getattr(self._claim.spec, "model", None)):
            running = self._run()
        self._trace.stages(running.timings, running.batch_facts)
        self._timings |= running.timings
        engine_slot.leave_engine()
        self._when_made = engine_slot.release
        self._enter(POSTPROCESS)
        self.made_at = time.perf_counter()
        self.data = _of_a_record(self._runner.data(self._result, self._claim.spec))

    def _run(self) -> Running[Any]:
        self._charge()
        assert self._tools is not None, "its inputs come first"  # noqa: S101 - of the same object
        running = self._running = self._runner.start(self._claim.spec, self._tools, self._note)
        self._when_begun()
        if self._reason:  # It came before there was anything to leave.
            running.leave(self._reason)
        self._result = running.result()
        self.warnings = (*self._runner.warnings(self._claim.spec, self._tools), *running.warnings)
        self._running = None  # It has the result, too.
        return running

    def leave(self, reason: Exception) -> None:
        """Ask the run to end, from any thread."""
        self._reason = self._reason or reason
        if (running := self._running) is not None:
            running.leave(self._reason)

    def files(self) -> Generator[MadeFile]:
        """
        The files, one by one as they are wanted; between any two the job may leave. Can be begun again.

        Each counts in the worker's memory until the next is asked for, or this is closed.
        """
        spec, runner = self._claim.spec, self._runner
        assert self._tools is not None, "its inputs come first"  # noqa: S101 - of the same object
        files = runner.files(self._result, spec, self._tools)
        count = runner.count(self._result, spec)
        for index in range(count):
            with self._context.memory.take(runner.file_bytes(spec), reason=self._why_leave) as taken:
                file = self._next_of(files)
                taken.keep(file.size_bytes)
                if index == count - 1:
                    self._when_made()
                if (why := self._why_leave()) is not None:
                    raise why
                if not self._is_uploading:
                    self._enter(UPLOAD)
                    self._is_uploading = True
                yield file
                del file  # Or it would be there beside the next.

    def _next_of(self, files: Iterator[MadeFile]) -> MadeFile:
        started = time.perf_counter()
        file = next(files)
        took_s = time.perf_counter() - started
        self._timings[POSTPROCESS] = round(self._timings.get(POSTPROCESS, 0.0) + took_s, 4)
        return file

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

    def _enter(self, stage: str) -> None:
        if stage in self._kind.stages:  # Else it stays where it was: progress would fall back to nothing.
            self._note(stage, 0, 0)

    def _note(self, stage: str, step: int, steps: int) -> None:
        self._context.progress.note(self._claim, stage, step, steps)

    def _send(self, data: Mapping[str, Any]) -> None:
        self._context.progress.send(self._claim, data)


def _of_a_record(data: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a job's record takes, as it is written there: Redis keeps it for a week."""
    if data is None:
        return None
    try:
        size_bytes = len(json.dumps(data))
    except (TypeError, ValueError) as exc:
        raise GenerationFailed(INVALID_OUTPUT, "data: the result of the job is not valid JSON", str(exc)) from exc
    if size_bytes > MAX_RECORD_DATA_BYTES:
        raise GenerationFailed(
            INVALID_OUTPUT,
            f"data: the job made {size_bytes} bytes of it; its record takes {MAX_RECORD_DATA_BYTES} at most",
        )
    return data
