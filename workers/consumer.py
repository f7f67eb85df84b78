"""
Receives messages so that none of them, whatever it holds, stops the worker.

Celery 5.7 dies of a message whose body is JSON but no task call (`5`), puts it back, and the next worker dies too;
kombu dies of one that is no JSON at all. Here such a message is logged and dropped. Errors of the connection still
pass, for Celery to reconnect. In a Redis that is full, kombu dies of the copy that it keeps of what is not acknowledged
yet; here it goes on without.

Celery writes what it drops into the log, whole. Here nothing of it is written but which task it was for: it may be a
prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
import structlog
from celery.worker import state
from celery.worker.consumer import Consumer
from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.transport.redis import Channel, QoS, SentinelChannel, Transport
from kombu.transport.virtual import Empty

log = structlog.get_logger()

_PASS_ON = (redis.exceptions.RedisError, OSError, Empty)
_NOT_SHOWN = "(not shown)"
_REPRS = ("argsrepr", "kwargsrepr")  # Headers in which Celery's clients repeat the arguments for people.


class TolerantConsumer(Consumer):
    """Rejects a message that Celery cannot turn into a task."""

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Any) -> None:
            try:
                handle(message)
            except _PASS_ON:
                raise
            except Exception as exc:  # noqa: BLE001 - content from outside can fail in any way
                log.error("message dropped: it is no task", error=_kind(exc))
                _forget(message)
                message.reject_log_error(log, _PASS_ON)

        return on_task_received

    def on_unknown_message(self, body: Any, message: Any) -> None:
        super().on_unknown_message(_NOT_SHOWN, _without_reprs(message))

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        super().on_unknown_task(_NOT_SHOWN, _without_reprs(message), exc)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        super().on_invalid_task(_NOT_SHOWN, message, exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        log.error("message dropped: its body cannot be decoded", error=_kind(exc), size_bytes=len(message.body))
        message.ack()


def _kind(exc: Exception) -> str:
    """What went wrong, without what went wrong with it: many errors repeat their input."""
    cause = f" ({type(exc.__context__).__name__})" if exc.__context__ else ""
    return f"{type(exc).__name__}{cause}"


def _without_reprs(message: Any) -> Any:
    if isinstance(message.headers, dict):
        message.headers = {name: value for name, value in message.headers.items() if name not in _REPRS}
    return message


def _forget(message: Any) -> None:
    """Free the slot of a task that was reserved and then could not be handed to the pool."""
    task_id = message.headers.get("id") if isinstance(message.headers, dict) else None
    for request in [each for each in state.reserved_requests if each.id == task_id]:
        state.task_ready(request)


class _TolerantQoS(QoS):
    """The job table sends lost messages again, so the broker's own copy may be missing."""

    def append(self, message: Any, delivery_tag: str) -> None:
        try:
            super().append(message, delivery_tag)
        except redis.exceptions.OutOfMemoryError:
            virtual.QoS.append(self, message, delivery_tag)


class _TolerantReads:
    """
    Mixed into kombu's channels: drops what is popped from a queue and is no message.

    And keeps its client. kombu makes one for every command, of which making it is the larger part.
    """

    QoS: Any = _TolerantQoS
    _kept: redis.Redis | None = None

    def _create_client(self, asynchronous: bool = False) -> redis.Redis:
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]
        if self._kept is None or self._kept.connection_pool is not self.pool:  # type: ignore[attr-defined]
            self._kept = super()._create_client()  # type: ignore[misc]
        return self._kept

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except _PASS_ON:
            raise
        except Exception as exc:  # noqa: BLE001 - see above
            log.error("message dropped: it cannot be read", error=_kind(exc))
            return True


class TolerantChannel(_TolerantReads, Channel):
    """kombu's Redis channel."""

    QoS = _TolerantQoS


class TolerantSentinelChannel(_TolerantReads, SentinelChannel):
    """kombu's Redis Sentinel channel."""

    QoS = _TolerantQoS


class TolerantTransport(Transport):
    """For redis:// and rediss://."""

    Channel = TolerantChannel


class TolerantSentinelTransport(Transport):
    """For sentinel://."""

    Channel = TolerantSentinelChannel


def use_tolerant_transport() -> None:
    """Have kombu use these transports, in this process."""
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = f"{__name__}:TolerantTransport"
    TRANSPORT_ALIASES["sentinel"] = f"{__name__}:TolerantSentinelTransport"
