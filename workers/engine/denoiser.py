"""Generate: the running batch. One pass at a time, jobs joining and leaving between passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.engine.adapter import AnyAdapter
from workers.engine.capacity import Capacity
from workers.engine.errors import as_generation_failure, is_fatal
from workers.engine.isolation import AllLeft, predict_each
from workers.engine.order import Active, choose
from workers.engine.run import Run
from workers.engine.ticket import GENERATE, Ticket
from workers.engine.watch import Watch


@dataclass(slots=True, kw_only=True)
class DenoiserCounts:
    """What the denoiser has done since it started."""

    passes: int = 0
    rows: int = 0
    joined: int = 0
    left: int = 0
    finished: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """
    One pass that was run.

    Attributes:
        rows: It had.
        room: Rows that it might have had; a single job may be larger.
        forwards: Of the model, at most; more than one for a job that is larger than the room.
        output_steps: Steps that it was, one for each output of a job: each image.
    """

    model: str
    rows: int
    room: int
    forwards: int
    output_steps: int


class Denoiser:
    """
    Owns every job that has begun and is not done. Not thread-safe: one thread calls it.

    Args:
        on_done: Gets a job whose last step is done.
        before_pass: Called when all is ready for the device, for a pass or for measuring some.
    """

    def __init__(
        self,
        adapters: Mapping[str, AnyAdapter],
        capacity: Capacity,
        clock: Callable[[], float],
        on_done: Callable[[Ticket[Any], Run], None],
        watch: Watch,
        before_pass: Callable[[], None],
    ) -> None:
        self._adapters = adapters
        self._capacity = capacity
        self._clock = clock
        self._on_done = on_done
        self._watch = watch
        self._before_pass = before_pass
        self._active: list[Active] = []
        self.counts = DenoiserCounts()

    @property
    def is_idle(self) -> bool:
        return not self._active

    def join(self, ticket: Ticket[Any], conditioning: Any) -> None:
        """Begin an encoded job; it takes part from the next pass on."""
        adapter = self._adapters[ticket.model]
        try:
            run = adapter.begin(ticket.work, conditioning)
            if not self._capacity.knows(run):
                self._before_pass()
            self._capacity.learn(adapter, run)
        except Exception as exc:
            if is_fatal(exc):
                raise
            self._fail(ticket, exc)
            return
        ticket.jobs_a_pass = max(1, self._capacity.max_rows(run) // run.rows)
        work_s = self._remaining_s(run)
        self._active.append(Active(ticket=ticket, run=run, since=self._clock(), work_s=work_s))
        self.counts.joined += 1
        ticket.note(GENERATE, 0, run.steps)

    def tick(self) -> Pass | None:
        """Let those go who are to leave, then run one pass for the jobs whose turn it is; None where there was none."""
        self._drop_leaving()
        if not self._active:
            return None
        batch = choose(self._active, self._clock(), self._remaining_s, self._capacity.max_rows)
        first, rows = batch[0], sum(each.run.rows for each in batch)
        fixed = self._fixed_rows(batch)
        requested = min(self._capacity.max_rows(each.run, at_least=fixed) for each in batch)
        forwards = rows if fixed else -(-rows // requested)  # What is fixed may be one.
        try:
            outcomes = self._run_pass(batch, requested, forwards)
        except AllLeft:
            return None
        self.counts.passes += 1
        self.counts.rows += rows
        output_steps = 0
        for each, outcome in zip(batch, outcomes, strict=True):
            if each in self._active:  # Else it left in the middle of a pass that is a whole run.
                each.ticket.passes += 1
                each.ticket.rows_of_passes += rows
                output_steps += self._advance(each, outcome)
        room = max(rows, requested)
        return Pass(model=first.ticket.model, rows=rows, room=room, forwards=forwards, output_steps=output_steps)

    def _run_pass(self, batch: Sequence[Active], max_rows: int, forwards: int) -> list[Any]:
        first = batch[0]

        def on_step(step: int) -> None:
            self._watch.touch("denoise")
            for each in batch:
                if each in self._active:
                    each.ticket.note(GENERATE, step, each.run.steps)
            self._drop_leaving()
            if not any(each in self._active for each in batch):
                raise AllLeft

        self._before_pass()
        longest_s = max(self._capacity.pass_s(each.run) for each in batch)
        with self._watch.call("denoise", longest_s, forwards):
            outcomes, fitting = predict_each(
                self._adapters[first.ticket.model], [each.run for each in batch], max_rows, on_step
            )
        costliest = max(batch, key=lambda each: self._capacity.seconds_per_row(each.run))
        self._capacity.note_pass(costliest.run, max_rows, fitting)
        for each in batch:
            if self._fixed_rows([each]) > fitting:
                each.run.note_shortage()
        return outcomes

    def _fixed_rows(self, batch: Sequence[Active]) -> int:
        """The most that forwards of one of them have whatever shares its pass; 0 where there is no such job."""
        adapter = self._adapters[batch[0].ticket.model]
        return max(adapter.fixed_rows(each.run) or 0 for each in batch)

    def _advance(self, each: Active, outcome: Any) -> int:
        """Move a job on. Returns how many steps of outputs that was."""
        ticket, run = each.ticket, each.run
        before = run.step
        try:
            if isinstance(outcome, Exception):
                raise outcome
            run.advance(outcome)
        except Exception as exc:
            if is_fatal(exc):
                raise
            self._active.remove(each)
            self._fail(ticket, exc)
            return 0
        ticket.steps_run = run.step
        ticket.note(GENERATE, run.step, run.steps)
        if run.passes_left == 0:
            self._active.remove(each)
            self.counts.finished += 1
            self._on_done(ticket, run)
        return (ticket.steps_run - before) * run.outputs

    def _drop_leaving(self) -> None:
        for each in [each for each in self._active if each.ticket.leaving]:
            self._active.remove(each)
            self.counts.left += 1
            each.ticket.go()

    def _fail(self, ticket: Ticket[Any], exc: Exception) -> None:
        self.counts.failed += 1
        ticket.fail(as_generation_failure(exc))

    def _remaining_s(self, run: Run) -> float:
        return run.passes_left * run.rows * self._capacity.seconds_per_row(run)
