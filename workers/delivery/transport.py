"""
kombu's Redis transport, for messages of which the job table knows.

Such a message may be lost, for the table sends it again; so the copy that kombu keeps in Redis of each that is not
acknowledged yet is made for others' only. That one must not get lost: it is made, and put back, where Redis is full,
too. And whatever is popped from a queue and is no message at all is dropped, where kombu would die of it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, NamedTuple

import redis
import structlog
from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.transport.redis import Channel, QoS, SentinelChannel, Transport
from kombu.transport.virtual import Empty
from kombu.utils.json import dumps, loads

from jobs.names import RUN_TASK
from workers.delivery.deliveries import copy_of, list_of
from workers.delivery.unacked import Unacked

log = structlog.get_logger()

PASS_ON = (redis.exceptions.RedisError, OSError, Empty)  # Errors of the connection: for Celery, which reconnects.
LOOK_FOR_DUE_EVERY_S = 2
_MOST_AT_A_TIME = 100  # of copies that go back into their queues

_BIND = """#!lua flags=allow-oom
for _, key in ipairs(KEYS) do redis.call('SADD', key, ARGV[1]) end
"""


class _LightQoS(QoS):
    """Keeps copies of messages that nobody would send again: tasks that other people's clients sent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._copied: set[str] = set()  # Tags.

    def append(self, message: Any, delivery_tag: str) -> None:
        if not _is_known_to_the_table(message):
            try:
                self._unacked().keep(delivery_tag, copy_of(message), time.time())
            except (redis.exceptions.RedisError, OSError) as exc:
                # It was popped, and is nowhere but here: the task has it, and goes on with it when Redis is back.
                log.warning("a message in hand has no copy in Redis", error=kind_of_error(exc))
            else:
                self._copied.add(delivery_tag)
        virtual.QoS.append(self, message, delivery_tag)

    def is_copied(self, delivery_tag: str) -> bool:
        """Whether Redis was given a copy of a message that is in hand."""
        return delivery_tag in self._copied

    def forget(self, delivery_tag: str) -> None:
        """Somebody else has said to Redis what became of it."""
        self._copied.discard(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        if self.is_copied(delivery_tag):
            self._unacked().drop(delivery_tag)
        self.forget(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if requeue:
            self.restore_by_tag(delivery_tag, leftmost=True)
            self.forget(delivery_tag)
        else:
            self.ack(delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """Put back what is in hand when the connection ends. Where Redis is away, copies go back when they are due."""
        in_hand: dict[str, Any] = self._delivered or {}
        try:
            for tag in list(in_hand):
                self.restore_by_tag(tag, client)
        except (redis.exceptions.RedisError, OSError) as exc:
            log.warning("messages in hand not put back", error=kind_of_error(exc))
        in_hand.clear()

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Put a message back into its queue: one that is in hand, or another worker's whose copy is due."""
        message = self._delivered.get(tag) if self._delivered else None
        has_copy = message is None or self.is_copied(tag)
        sent = self._read_copy(tag, client) if has_copy else _Sent.of(message)
        if sent is None:
            return
        channel: Any = self.channel
        if isinstance(sent.raw.get("headers"), dict):
            sent.raw["headers"]["redelivered"] = True
        lists = [list_of(channel, queue, sent.raw) for queue in channel._lookup(sent.exchange, sent.routing_key)]
        self._unacked(client).put(tag, dumps(sent.raw), lists, last=leftmost, is_kept=has_copy)

    def restore_visible(self, start: int = 0, num: int | None = None, interval: int = 1) -> None:
        """Put those back that are due: where it is asked for, without kombu's lock, which takes memory."""
        del start, num, interval
        for tag in reversed(self._unacked().due(time.time() - self.visibility_timeout, _MOST_AT_A_TIME)):
            self.restore_by_tag(tag)

    def _read_copy(self, tag: str, client: Any) -> _Sent | None:
        copy = self._unacked(client).copy_of(tag)
        try:
            return None if copy is None else _Sent(*loads(copy if isinstance(copy, str) else copy.decode()))
        except (ValueError, TypeError) as exc:
            log.error("a copy of a message dropped: it cannot be read", error=kind_of_error(exc))
            self._unacked(client).drop(tag)
            return None

    def _unacked(self, client: Any = None) -> Unacked:
        channel: Any = self.channel
        with channel.conn_or_acquire(client) as connected:
            return Unacked(connected, self.unacked_key, self.unacked_index_key)


class _Sent(NamedTuple):
    """A message as it was sent, in the order in which kombu's copies have it."""

    raw: dict[str, Any]
    exchange: str
    routing_key: str

    @classmethod
    def of(cls, message: Any) -> _Sent:
        return cls(message._raw, message.delivery_info["exchange"], message.delivery_info["routing_key"])


def _is_known_to_the_table(message: Any) -> bool:
    return isinstance(message.headers, dict) and message.headers.get("task") == RUN_TASK


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
