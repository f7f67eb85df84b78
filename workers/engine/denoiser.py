"""Generate: the running batch. One pass at a time, jobs joining and leaving between passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.table.states import Stage
from workers.engine.adapter import Adapter, Denoising
from workers.engine.capacity import Capacity
from workers.engine.errors import as_generation_failure, is_fatal
from workers.engine.isolation import AllLeft, predict_each
from workers.engine.order import Active, choose
from workers.engine.ticket import Ticket
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
        image_steps: Denoising steps that it was, one for each image.
    """

    model: str
    rows: int
    room: int
    forwards: int
    image_steps: int


class Denoiser:
    """
    Owns every job that has its noise and is not done. Not thread-safe: one thread calls it.

    Args:
        on_done: Gets a job whose latents are ready.
        before_pass: Called when all is ready for the device, for a pass or for measuring some.
    """

    def __init__(
        self,
        adapters: Mapping[str, Adapter[Any]],
        capacity: Capacity,
        clock: Callable[[], float],
        on_done: Callable[[Ticket, Denoising], None],
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

    def join(self, ticket: Ticket, conditioning: Any) -> None:
        """Give an encoded job its noise; it takes part from the next pass on."""
        adapter = self._adapters[ticket.spec.model]
        try:
            denoising = adapter.begin(ticket.spec, conditioning)
            if not self._capacity.knows(denoising):
                self._before_pass()
            self._capacity.learn(adapter, denoising)
        except Exception as exc:
            if is_fatal(exc):
                raise
            self._fail(ticket, exc)
            return
        ticket.jobs_a_pass = max(1, self._capacity.max_rows(denoising) // denoising.rows)
        work_s = self._remaining_s(denoising)
        self._active.append(Active(ticket=ticket, denoising=denoising, since=self._clock(), work_s=work_s))
        self.counts.joined += 1
        ticket.note(Stage.GENERATE, 0, ticket.spec.num_inference_steps)

    def tick(self) -> Pass | None:
        """Let those go who are to leave, then run one pass for the jobs whose turn it is; None where there was none."""
        self._drop_leaving()
        if not self._active:
            return None
        batch = choose(self._active, self._clock(), self._remaining_s, self._capacity.max_rows)
        first, rows = batch[0], sum(each.denoising.rows for each in batch)
        asked = self._capacity.max_rows(first.denoising)
        # Those of a reproducible job have a number of rows of their own, which may be one.
        forwards = rows if any(each.ticket.spec.reproducible for each in batch) else -(-rows // asked)
        try:
            outcomes = self._run_pass(batch, asked, forwards)
        except AllLeft:
            return None
        self.counts.passes += 1
        self.counts.rows += rows
        image_steps = 0
        for each, outcome in zip(batch, outcomes, strict=True):
            if each in self._active:  # Else it left in the middle of a pass that is a whole run.
                each.ticket.passes += 1
                each.ticket.rows_of_passes += rows
                image_steps += self._advance(each, outcome)
        room = max(rows, self._capacity.max_rows(first.denoising))
        return Pass(model=first.ticket.spec.model, rows=rows, room=room, forwards=forwards, image_steps=image_steps)

    def _run_pass(self, batch: Sequence[Active], max_rows: int, forwards: int) -> list[Any]:
        first = batch[0]

        def on_step(step: int) -> None:
            self._watch.touch("denoise")
            for each in batch:
                if each in self._active:
                    each.ticket.note(Stage.GENERATE, step, each.ticket.spec.num_inference_steps)
            self._drop_leaving()
            if not any(each in self._active for each in batch):
                raise AllLeft

        self._before_pass()
        with self._watch.call("denoise", self._capacity.pass_s(first.denoising), forwards):
            outcomes, fitting = predict_each(
                self._adapters[first.ticket.spec.model], [each.denoising for each in batch], max_rows, on_step
            )
        self._capacity.note_pass(first.denoising, max_rows, fitting)
        return outcomes

    def _advance(self, each: Active, outcome: Any) -> int:
        """Move a job on. Returns how many steps of images that was."""
        ticket, denoising = each.ticket, each.denoising
        before = denoising.step
        try:
            if isinstance(outcome, Exception):
                raise outcome
            denoising.advance(outcome)
        except Exception as exc:
            if is_fatal(exc):
                raise
            self._active.remove(each)
            self._fail(ticket, exc)
            return 0
        ticket.steps_run = denoising.step
        ticket.note(Stage.GENERATE, denoising.step, ticket.spec.num_inference_steps)
        if denoising.passes_left == 0:
            self._active.remove(each)
            self.counts.finished += 1
            self._on_done(ticket, denoising)
        return (ticket.steps_run - before) * ticket.spec.n

    def _drop_leaving(self) -> None:
        for each in [each for each in self._active if each.ticket.leaving]:
            self._active.remove(each)
            self.counts.left += 1
            each.ticket.go()

    def _fail(self, ticket: Ticket, exc: Exception) -> None:
        self.counts.failed += 1
        ticket.fail(as_generation_failure(exc))

    def _remaining_s(self, denoising: Denoising) -> float:
        return denoising.passes_left * denoising.rows * self._capacity.seconds_per_row(denoising)
