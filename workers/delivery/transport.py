"""
kombu's Redis transport, for messages of which the job table knows.

Such a message may be lost, for the table sends it again: so there is no copy in Redis of what is not acknowledged yet.
And whatever is popped from a queue and is no message at all is dropped, where kombu would die of it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import redis
import structlog
from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.transport.redis import Channel, QoS, SentinelChannel, Transport
from kombu.transport.virtual import Empty

log = structlog.get_logger()

PASS_ON = (redis.exceptions.RedisError, OSError, Empty)  # Errors of the connection: for Celery, which reconnects.

_BIND = """#!lua flags=allow-oom
for _, key in ipairs(KEYS) do redis.call('SADD', key, ARGV[1]) end
"""


class _LightQoS(QoS):
    """Keeps no copies: all that comes through here are the table's messages, which sends them again."""

    def append(self, message: Any, delivery_tag: str) -> None:
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if requeue:
            in_hand: dict[str, Any] = self._delivered or {}
            self._put_back([in_hand[delivery_tag]])
        self.ack(delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """Put back what is in hand when the connection ends, which is sooner than the table would send it again."""
        del client
        in_hand: dict[str, Any] = self._delivered or {}
        try:
            self._put_back(list(in_hand.values()))
        except (redis.exceptions.RedisError, OSError) as exc:
            log.warning("messages in hand not put back", error=kind_of_error(exc))
        in_hand.clear()

    def restore_visible(self, *args: Any, **kwargs: Any) -> Any:
        """
        Put back what an older worker had a copy of when it died. In a full Redis it waits for room:
        kombu asks for a lock there, and a worker that connects anew would end with what it runs.
        """
        with suppress(redis.exceptions.OutOfMemoryError):
            return super().restore_visible(*args, **kwargs)

    def _put_back(self, messages: list[Any]) -> None:
        channel: Any = self.channel
        with channel.conn_or_acquire() as client:
            for each in messages:
                sent = each.delivery_info
                channel._do_restore_message(each._raw, sent["exchange"], sent["routing_key"], client, leftmost=True)


def kind_of_error(exc: Exception) -> str:
    """What went wrong, without what went wrong with it: many errors repeat their input."""
    cause = f" ({type(exc.__context__).__name__})" if exc.__context__ else ""
    return f"{type(exc).__name__}{cause}"


class _TolerantReads:
    """
    Mixed into kombu's channels: drops what is popped from a queue and is no message, and binds queues in a full Redis.

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

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        try:
            super()._queue_bind(exchange, routing_key, pattern, queue)  # type: ignore[misc]
        except redis.exceptions.OutOfMemoryError:
            # A worker that lost its connection to a full Redis would end with what it runs.
            channel: Any = self
            keys = [channel.keyprefix_queue % exchange]
            if queue not in channel._expires:
                keys.append(channel.keyprefix_binding_permanent % exchange)
            member = channel.sep.join([routing_key or "", pattern or "", queue or ""])
            with channel.conn_or_acquire() as client:
                client.eval(_BIND, len(keys), *keys, member)

    def maybe_refresh_binding_expiry(self) -> None:
        with suppress(redis.exceptions.OutOfMemoryError):  # Or kombu would log it, traceback and all, every second.
            super().maybe_refresh_binding_expiry()  # type: ignore[misc]


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
