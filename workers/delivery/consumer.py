"""
Receives messages so that none of them, whatever it holds, stops the worker.

Celery 5.7 dies of a message whose body is JSON but no task call (`5`), puts it back, and the next worker dies too;
kombu dies of one that is no JSON at all. Here such a message is logged and dropped. Errors of the connection still
pass, for Celery to reconnect.

Celery writes what it drops into the log, whole. Here nothing of it is written but which task it was for: it may be a
prompt.

Celery also sends the events that Flower shows as soon as there are any. Here they go a few times a second, all in one
message: one by one they cost a job as much as storing its picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.request import Request
from kombu.asynchronous import get_event_loop
from vine import promise

from workers.delivery.transport import PASS_ON, kind_of_error

log = structlog.get_logger()

_EVENTS_EVERY_S = 0.25
_LOOK_AGAIN = promise(lambda: None)  # One for all, for the loop keeps a set of what is due.
_NOT_SHOWN = "(not shown)"
_REPRS = ("argsrepr", "kwargsrepr")  # Headers in which Celery's clients repeat the arguments for people.


class TolerantConsumer(Consumer):
    """Rejects a message that Celery cannot turn into a task; sends events in bunches."""

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        hub.call_repeatedly(_EVENTS_EVERY_S, self._flush_events)  # type: ignore[attr-defined]

    def on_send_event_buffered(self) -> None:  # type: ignore[override]
        """The next bunch takes it along. But it may be of a job that has ended: the loop has to look for the next."""
        self.hub.call_soon(_LOOK_AGAIN)  # type: ignore[attr-defined]

    def shutdown(self) -> None:
        self._flush_events()  # type: ignore[attr-defined]
        super().shutdown()

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Any) -> None:
            try:
                handle(message)
            except PASS_ON:
                raise
            except Exception as exc:  # noqa: BLE001 - content from outside can fail in any way
                log.error("message dropped: it is no task", error=kind_of_error(exc))
                _forget(message)
                message.reject_log_error(log, PASS_ON)

        return on_task_received

    def on_unknown_message(self, body: Any, message: Any) -> None:
        super().on_unknown_message(_NOT_SHOWN, _without_reprs(message))

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        super().on_unknown_task(_NOT_SHOWN, _without_reprs(message), exc)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        super().on_invalid_task(_NOT_SHOWN, message, exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        log.error("message dropped: its body cannot be decoded", error=kind_of_error(exc), size_bytes=len(message.body))
        message.ack()


class RunRequest(Request):
    """
    Has the loop look for the next message though its task was ignored, because there was nothing to run.

    Celery sends no event of that: a worker whose slots are all taken would look again at its next timer only, and get
    through a row of such messages at some a second.
    """

    def on_failure(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().on_failure(*args, **kwargs)
        finally:
            if (loop := get_event_loop()) is not None:
                loop.call_soon(_LOOK_AGAIN)


class SentEvents:
    """Puts word of messages that this process sent among a consumer's other events."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def publish(self, kind: str, fields: dict[str, Any], producer: Any, **_options: Any) -> None:
        """As `celery.events.EventDispatcher.publish`, but that it goes with the next bunch."""
        del producer
        if self._consumer.event_dispatcher is not None:  # type: ignore[attr-defined]
            self._consumer.event_dispatcher.send(kind, **fields)  # type: ignore[attr-defined]


def _without_reprs(message: Any) -> Any:
    if isinstance(message.headers, dict):
        message.headers = {name: value for name, value in message.headers.items() if name not in _REPRS}
    return message


def _forget(message: Any) -> None:
    """Free the slot of a task that was reserved and then could not be handed to the pool."""
    task_id = message.headers.get("id") if isinstance(message.headers, dict) else None
    for request in [each for each in state.reserved_requests if each.id == task_id]:
        state.task_ready(request)
