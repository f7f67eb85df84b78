"""
kombu's Redis transport, for messages of which the job table knows.

Such a message may be lost, for the table sends it again; so the copy that kombu keeps in Redis of each that is not
acknowledged yet is made for others' only, and a full Redis may refuse it. And whatever is popped from a queue and is no
message at all is dropped, where kombu would die of it.
"""

from __future__ import annotations

from typing import Any

import redis
import structlog
from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.transport.redis import Channel, QoS, SentinelChannel, Transport
from kombu.transport.virtual import Empty

from jobs.names import RUN_TASK

log = structlog.get_logger()

PASS_ON = (redis.exceptions.RedisError, OSError, Empty)  # Errors of the connection: for Celery, which reconnects.


class _LightQoS(QoS):
    """Keeps copies of messages that nobody would send again: tasks that other people's clients sent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._copied: set[str] = set()  # Tags.

    def append(self, message: Any, delivery_tag: str) -> None:
        if not _is_known_to_the_table(message):
            try:
                super().append(message, delivery_tag)
            except redis.exceptions.OutOfMemoryError:
                pass
            else:
                self._copied.add(delivery_tag)
                return
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        if delivery_tag in self._copied:
            self._copied.discard(delivery_tag)
            super().ack(delivery_tag)
        else:
            virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if requeue or delivery_tag in self._copied:
            super().reject(delivery_tag, requeue)
            self._copied.discard(delivery_tag)
        else:
            virtual.QoS.ack(self, delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        message = self._delivered.get(tag) if self._delivered else None
        if tag in self._copied or message is None:  # The latter: another worker's, from `restore_visible`.
            super().restore_by_tag(tag, client, leftmost)
            return
        sent = message.delivery_info
        channel: Any = self.channel
        with channel.conn_or_acquire(client) as connected:
            pipe = connected.pipeline()
            channel._do_restore_message(message._raw, sent["exchange"], sent["routing_key"], pipe, leftmost)
            pipe.execute()


def _is_known_to_the_table(message: Any) -> bool:
    return isinstance(message.headers, dict) and message.headers.get("task") == RUN_TASK


def kind_of_error(exc: Exception) -> str:
    """What went wrong, without what went wrong with it: many errors repeat their input."""
    cause = f" ({type(exc.__context__).__name__})" if exc.__context__ else ""
    return f"{type(exc).__name__}{cause}"


class _TolerantReads:
    """
    Mixed into kombu's channels: drops what is popped from a queue and is no message.

    And keeps its client. kombu makes one for every command, of which making it is the larger part.
    """

    QoS: Any = _LightQoS
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
        except PASS_ON:
            raise
        except Exception as exc:  # noqa: BLE001 - content from outside can fail in any way
            log.error("message dropped: it cannot be read", error=kind_of_error(exc))
            return True


class TolerantChannel(_TolerantReads, Channel):
    """kombu's Redis channel."""

    QoS = _LightQoS


class TolerantSentinelChannel(_TolerantReads, SentinelChannel):
    """kombu's Redis Sentinel channel."""

    QoS = _LightQoS


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
