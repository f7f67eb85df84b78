"""Which lines Celery's consumer reads: those of models that are loaded, unless an operator has had it leave one out."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from jobs import names


class ReadLines:
    """
    Of one worker; safe to use from many threads.

    Celery's consumer does what it is asked on its own thread, in no certain order, and forgets what it was asked while
    it connects anew. So it is asked for one thing only, which may be repeated: to read what it is to read now.

    Args:
        models: Whose lines are read when they are loaded.
        closed: Those that are not yet.
    """

    def __init__(self, models: Iterable[str] = (), closed: Iterable[str] = ()) -> None:
        self._queues = tuple(map(names.queue_of, models))
        self._lock = threading.Lock()  # guards what follows
        self._closed = set(map(names.queue_of, closed))
        self._left_out: set[str] = set()
        self._consumer: Any = None

    def attach(self, consumer: Any) -> None:
        """Celery's consumer is there; it began with what was loaded earlier."""
        self._consumer = consumer
        self.settle()

    def is_closed(self, queue: str) -> bool:
        """Whether its model is not loaded."""
        return queue in self._closed

    def is_left_out(self, queue: str) -> bool:
        """Whether an operator wants no jobs of it taken here."""
        return queue in self._left_out

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
        with self._lock:
            self._closed.discard(names.queue_of(model))
        self.settle()

    def close(self, model: str) -> None:
        """No more jobs of a model are to be taken."""
        with self._lock:
            self._closed.add(names.queue_of(model))
        self.settle()

    def settle(self) -> None:
        """Have the consumer read what it is to read."""
        if (consumer := self._consumer) is not None:
            consumer.call_soon(self._settle)

    def _settle(self) -> None:
        consumer = self._consumer
        read = consumer.app.amqp.queues.consume_from
        for queue in self._queues:
            line, is_wanted = names.line_of(queue), not (queue in self._closed or queue in self._left_out)
            if is_wanted and line not in read:
                consumer.add_task_queue(line)
            elif line in read and not is_wanted:
                consumer.cancel_task_queue(line)
