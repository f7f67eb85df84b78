"""Whether any worker serves what is submitted; and what is said, or refused, where none does, as the operator sets."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import structlog

from jobs import names
from jobs.errors import NotServed, RedisUnavailable
from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.process.settings import Settings

log = structlog.get_logger()

_LOOK_EVERY_S = 2.0


class Serving:
    """
    Asks which workers there are, once in two seconds at most, however much is submitted; safe to use from many threads.

    Where Redis cannot be asked, nothing is said: submitting will fail by itself.
    """

    def __init__(self, fleet: Fleet, settings: Settings) -> None:
        self._fleet = fleet
        self._policy = settings.unserved_models
        self._lock = threading.Lock()
        self._next_look = 0.0
        self._workers: Sequence[WorkerReport] | None = None  # None where they are not known

    def warning(self, queue: str) -> str | None:
        """A warning for clients that submit to a queue, if any: no worker serves it, and the job waits."""
        if self._policy != "warn" or self._is_served(queue):
            return None
        what, name = _named(queue)
        return f"no worker serves {what} {name!r} at the moment: the job waits until one does"

    def refusal(self, queue: str) -> NotServed | None:
        """Why nothing may be submitted into a queue, if so."""
        if self._policy != "refuse" or self._is_served(queue):
            return None
        return NotServed(*_named(queue))

    def _is_served(self, queue: str) -> bool:
        with self._lock:  # Others go on with the last answer while one asks.
            is_due = time.monotonic() >= self._next_look
            if is_due:
                self._next_look = time.monotonic() + _LOOK_EVERY_S
        if is_due:
            self._workers = self._look()
        workers = self._workers
        return workers is None or any(each.will_serve(queue) for each in workers)

    def _look(self) -> Sequence[WorkerReport] | None:
        try:
            return self._fleet.workers()
        except RedisUnavailable as exc:
            log.warning("workers are not known", reason=str(exc))
            return None


def _named(queue: str) -> tuple[str, str]:
    """What sort of thing serves a queue, and which."""
    model = names.model_of(queue)
    return ("kind", names.kind_of(queue)) if model is None else ("model", model)
