"""
The engine of one device: encode → generate → finish, each job at its own step.

Threads hand jobs in and wait for what they make; the engine's own thread, or three of them on a GPU, do the work.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog
import torch

from workers.engine.adapter import AnyAdapter
from workers.engine.capacity import Capacity
from workers.engine.denoiser import Denoiser, DenoiserCounts, Pass
from workers.engine.errors import EngineDied, as_generation_failure, is_fatal
from workers.engine.isolation import finish_all
from workers.engine.run import Run
from workers.engine.streams import Handover, Pacer, own_stream, wait_for_stream
from workers.engine.ticket import ENCODE, GENERATE, OnProgress, Ticket
from workers.engine.watch import Watch

log = structlog.get_logger()

ENCODED_TOGETHER = 16  # prompts
_LATE_S = 0.05  # for results that wait while others are encoded and finished, by the same thread


class Engine:
    """
    Runs jobs of any number of models on one device.

    `submit` and a ticket's methods may be called from any thread. `start` runs the engine's own threads; without it,
    the owner of the engine calls `turn`, for instance in step with a simulated clock.

    Args:
        adapters: The loaded models by name.
        device: Where they are; decides how many threads compute.
        in_turn: Have one thread compute on a GPU, too: where models share its memory by turns.
        clock: Of waiting times, in seconds.
        on_death: Called once, when the engine has failed: the device failed, or a bug.
        watch: Over calls of the device that do not return.
        on_pass: Called with each pass and the seconds that it took, by the engine's thread; must be quick and must not
            raise.
    """

    def __init__(
        self,
        adapters: Mapping[str, AnyAdapter],
        capacity: Capacity,
        *,
        device: torch.device | None = None,
        in_turn: bool = False,
        clock: Callable[[], float] = time.monotonic,
        on_death: Callable[[BaseException], None] = lambda _exc: None,
        watch: Watch | None = None,
        on_pass: Callable[[Pass, float], None] = lambda _pass, _seconds: None,
    ) -> None:
        self._adapters = adapters
        self._clock = clock
        self._device = device or torch.device("cpu")
        self._in_turn = in_turn
        self._on_death = on_death
        self._on_pass = on_pass
        self._watch = watch or Watch()
        self._denoiser = Denoiser(adapters, capacity, clock, self._pass_on, self._watch, before_pass=self._hand_over)
        self._pacer = Pacer(self._device)
        self._forwards = 1  # of the pass that the pacer waits for
        self._late_s = 0.0 if self._device.type == "cuda" else _LATE_S
        self._finished: deque[tuple[Ticket[Any], Any, float]] = deque()
        self._wakeup = threading.Condition()  # guards what follows
        self._arrived: deque[Ticket[Any]] = deque()
        self._encoded: deque[tuple[Ticket[Any], Any]] = deque()
        self._done: deque[tuple[Ticket[Any], Run, Handover]] = deque()
        self._open: set[Ticket[Any]] = set()
        self._died: BaseException | None = None
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def stuck_s(self, now: float) -> float | None:
        """How long a call of the device has been running, once that is longer than it can be healthy; else None."""
        return self._watch.overdue_s(now)

    def forget_over(self) -> None:
        """Let go of jobs that are over: an error among them has the model that it came from in its traceback."""
        with self._wakeup:
            self._open = {each for each in self._open if not each.is_over}

    @property
    def counts(self) -> DenoiserCounts:
        """What the denoiser has done; read without a lock."""
        return self._denoiser.counts

    def submit(self, model: str, work: Any, on_progress: OnProgress | None = None) -> Ticket[Any]:
        """
        Hand a job in.

        Args:
            model: Name of the adapter that is to run it.
            work: What that adapter's `encode` and `begin` take.
            on_progress: Gets (stage, step, steps) from the engine's threads; must be fast. If it raises, the job leaves
                with that.

        Raises:
            EngineDied: It cannot go on.
        """
        ticket: Ticket[Any] = Ticket(model, work, on_progress)
        with self._wakeup:
            if self._died or self._stopping:
                raise EngineDied("the engine has stopped") from self._died
            self._open = {each for each in self._open if not each.is_over} | {ticket}
            self._arrived.append(ticket)
            self._wakeup.notify_all()
        return ticket

    def start(self, initialize: Callable[[], None] = lambda: None) -> None:
        """Start the threads. `initialize` is called by each of them first."""
        if self._device.type == "cuda" and not self._in_turn:
            loops: list[tuple[str, Callable[[], None], Callable[[], bool]]] = [
                ("encode", self._encode, lambda: bool(self._arrived)),
                ("denoise", self._denoise, lambda: bool(self._encoded or not self._denoiser.is_idle)),
                ("finish", self._finish, lambda: bool(self._done)),
            ]
        else:
            loops = [("device", self.turn, lambda: bool(self._arrived or self._done or not self._denoiser.is_idle))]
        for name, step, has_work in loops:
            thread = threading.Thread(
                target=self._loop, args=(initialize, step, has_work), name=f"engine-{name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End the threads; jobs that are not done fail with `EngineDied`."""
        with self._wakeup:
            self._stopping = True
            self._wakeup.notify_all()
        for thread in self._threads:
            thread.join()
        self._fail_open(EngineDied("the engine has stopped"))

    def turn(self) -> None:
        """One pass, with the encoding that comes before it and the finishing that comes after."""
        self._encode()
        self._denoise()
        self._finish()
        if self._denoiser.is_idle:
            self._hand_over()

    def _loop(self, initialize: Callable[[], None], step: Callable[[], None], has_work: Callable[[], bool]) -> None:
        try:
            with own_stream(self._device):
                initialize()
                while True:
                    with self._wakeup:
                        self._wakeup.wait_for(lambda: self._stopping or has_work())
                        if self._stopping:
                            return
                    step()
        except BaseException as exc:
            log.exception("the engine has failed")
            self._die(exc)

    def _encode(self) -> None:
        with self._wakeup:
            tickets = [self._arrived.popleft() for _ in range(min(len(self._arrived), ENCODED_TOGETHER))]
        for model in dict.fromkeys(ticket.model for ticket in tickets):
            self._encode_together(self._adapters[model], [each for each in tickets if each.model == model])

    def _encode_together(self, adapter: AnyAdapter, tickets: list[Ticket[Any]]) -> None:
        for ticket in [ticket for ticket in tickets if ticket.leaving]:
            tickets.remove(ticket)
            ticket.go()
        self._hand_over_late()
        try:
            with self._watch.call("encode"):
                conditionings = adapter.encode([ticket.work for ticket in tickets]) if tickets else []
                wait_for_stream(self._device)
        except Exception as exc:
            if is_fatal(exc):
                raise
            if len(tickets) > 1:
                for ticket in tickets:
                    self._encode_together(adapter, [ticket])
            else:
                tickets[0].fail(as_generation_failure(exc))
            return
        for ticket in tickets:
            ticket.passed(ENCODE)
        with self._wakeup:
            self._encoded += zip(tickets, conditionings, strict=True)
            self._wakeup.notify_all()

    def _denoise(self) -> None:
        with self._wakeup:
            encoded = list(self._encoded)
            self._encoded.clear()
        for ticket, conditioning in encoded:
            self._denoiser.join(ticket, conditioning)
        started = time.perf_counter()
        done = self._denoiser.tick()
        with self._watch.call("denoise", calls=self._forwards):
            self._pacer.after_pass()
        self._forwards = done.forwards if done else 1
        if done is not None:  # On a GPU the pacer waits for the pass before, so this is how often passes come.
            self._on_pass(done, time.perf_counter() - started)

    def _pass_on(self, ticket: Ticket[Any], run: Run) -> None:
        with self._wakeup:
            self._done.append((ticket, run, Handover(self._device)))
            self._wakeup.notify_all()

    def _finish(self) -> None:
        while self._done:
            ticket, run, handover = self._done.popleft()
            if ticket.leaving:
                ticket.go()
                continue
            handover.take()
            try:
                with self._watch.call("finish", calls=run.outputs):
                    result = finish_all(self._adapters[ticket.model], run)
            except Exception as exc:
                if is_fatal(exc):
                    raise
                ticket.fail(as_generation_failure(exc))
                continue
            ticket.passed(GENERATE)
            ticket.warnings = run.warnings
            self._finished.append((ticket, result, self._clock()))
            self._hand_over_late()

    def _hand_over(self) -> None:
        """
        Wake those whose results are there.

        Each has work for the interpreter: files, uploads, the next job. Where one thread does it all, that waits until
        the device is at the next pass; between two passes it made the device wait, 40 ms for 32 jobs.
        """
        with suppress(IndexError):
            while True:
                ticket, result, _ = self._finished.popleft()
                ticket.succeed(result)

    def _hand_over_late(self) -> None:
        with suppress(IndexError):
            if self._clock() - self._finished[0][2] >= self._late_s:
                self._hand_over()

    def _die(self, exc: BaseException) -> None:
        with self._wakeup:
            self._died = self._died or exc
            self._stopping = True
            self._wakeup.notify_all()
        self._on_death(exc)
        self._fail_open(EngineDied(f"the engine has failed: {exc!r}"))

    def _fail_open(self, error: EngineDied) -> None:
        self._hand_over()
        with self._wakeup:
            tickets, self._open = self._open, set()
        for ticket in tickets:
            if not ticket.is_over:
                ticket.fail(error)
