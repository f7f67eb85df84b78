"""
A message from outside in this worker's hands, until its task has said what becomes of it.

Celery acknowledges a message when its task begins, or when it ends. One from outside is acknowledged in between, as
soon as its job is written: until then nobody else has it, and from then on nobody needs it.
"""

from __future__ import annotations

import time
from typing import Any

import redis
from celery.worker.request import Request
from kombu.utils.json import dumps
from structlog import get_logger

from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from workers.delivery.unacked import Unacked

log = get_logger()


class Delivery:
    """
    One message that was handed to this worker.

    Attributes:
        is_copied: Redis has a copy of it; it was away otherwise when the message came.
        is_settled: What becomes of the message is written.
        is_left: It stays as it is: this worker ends, and kombu puts back what it can.
    """

    def __init__(self, message: Any) -> None:
        self._message = message
        self._qos = message.channel.qos
        self.is_copied: bool = self._qos.is_copied(message.delivery_tag)
        self.is_settled = False
        self.is_left = False

    @property
    def tag(self) -> str:
        return str(self._message.delivery_tag)

    @property
    def visibility_timeout_s(self) -> float:
        return float(self._message.channel.visibility_timeout)

    def copy(self) -> str:
        """The message in the form in which kombu keeps it."""
        return copy_of(self._message)

    def for_queue(self, queue: str) -> tuple[str, str]:
        """The message as it would have been sent to another queue, and the list that it belongs into there."""
        raw, channel = self._message._raw, self._message.channel
        sent_to = {**raw["properties"]["delivery_info"], "exchange": "", "routing_key": queue}
        message = {**raw, "properties": {**raw["properties"], "delivery_info": sent_to}}
        return dumps(message), list_of(channel, queue, raw)

    def forget(self) -> None:
        """Celery's connection need not remember it any more."""
        self._qos.forget(self._message.delivery_tag)


class DeliveredRequest(Request):
    """Celery's request, for a task that settles its message itself: `task.request.delivery`."""

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **options)
        self.delivery = Delivery(message)
        self.request_dict["delivery"] = self.delivery

    def acknowledge(self) -> None:
        """As Celery would, where the task has not settled it: it was revoked, or hit a bug of ours."""
        if not (self.delivery.is_settled or self.delivery.is_left):
            super().acknowledge()
        elif self.delivery.is_settled:
            self.delivery.forget()


class Deliveries:
    """Settles messages, over a connection that outlives Celery's own. All of it may raise `RedisUnavailable`."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._unacked = Unacked(client)
        self._settings = settings

    def acknowledge(self, delivery: Delivery) -> None:
        """Its job is written."""
        with map_errors(self._settings):
            self._unacked.drop(delivery.tag)
        delivery.is_settled = True

    def postpone(self, delivery: Delivery, for_s: float) -> None:
        """Leave the copy alone, to be put back by any worker that finds room for its job after so many seconds."""
        made_at = time.time() - delivery.visibility_timeout_s + for_s
        with map_errors(self._settings):
            self._unacked.keep(delivery.tag, delivery.copy(), made_at)
        delivery.is_settled = True

    def forward(self, delivery: Delivery, queue: str) -> None:
        """Put it at the end of another queue."""
        message, target = delivery.for_queue(queue)
        with map_errors(self._settings):
            self._unacked.put(delivery.tag, message, [target], last=True, is_kept=delivery.is_copied)
        delivery.is_settled = True


def copy_of(message: Any) -> str:
    """A message in the form in which kombu keeps it."""
    sent = message.delivery_info
    copy: str = dumps([message._raw, sent["exchange"], sent["routing_key"]])
    return copy


def list_of(channel: Any, queue: str, raw: Any) -> str:
    """The list of a queue that a message belongs into, by its priority."""
    name: str = channel._q_for_pri(queue, channel._get_message_priority(raw, reverse=False))
    return name
