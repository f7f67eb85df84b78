"""Which lines Celery's consumer reads: those of models that are loaded, unless an operator has had it leave one out."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from jobs import names


class ReadLines:
    """
    Of one worker; safe to use from many threads. Does nothing before Celery's consumer is there.

    Args:
        models: Whose lines are not read until they are loaded.
    """

    def __init__(self, models: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()  # guards what follows
        self._closed = set(map(names.queue_of, models))
        self._left_out: set[str] = set()
        self._consumer: Any = None

    def attach(self, consumer: Any) -> None:
        """Celery's consumer is there."""
        self._consumer = consumer

    def is_closed(self, queue: str) -> bool:
        """Whether its model is not loaded."""
        return queue in self._closed

    def leave_out(self, queue: str) -> None:
        """An operator wants no jobs of it taken here."""
        with self._lock:
            self._left_out.add(queue)

    def take_in(self, queue: str) -> None:
        """He does again."""
        with self._lock:
            self._left_out.discard(queue)

    def open(self, model: str) -> None:
        """Jobs of a model can be taken from now on."""
        queue = names.queue_of(model)
        with self._lock:
            self._closed.discard(queue)
            reads = queue not in self._left_out
        if reads and (consumer := self._consumer) is not None:
            consumer.call_soon(consumer.add_task_queue, names.line_of(queue))

    def close(self, model: str) -> None:
        """No more jobs of a model are to be taken."""
        queue = names.queue_of(model)
        with self._lock:
            self._closed.add(queue)
        if (consumer := self._consumer) is not None:
            consumer.call_soon(consumer.cancel_task_queue, names.line_of(queue))
