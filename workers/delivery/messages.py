"""
Reads Celery messages as clients of all kinds write them: protocols 1 and 2, in kombu's envelope for Redis.

https://docs.celeryq.dev/en/stable/internals/protocol.html; the envelope is that of `kombu.transport.virtual`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.app.task import Context
from kombu.exceptions import ContentDisallowed, KombuError
from kombu.serialization import loads

_HIGH, _NORMAL = range(3), range(3, 6)  # of the ten priorities that a message may have; 0 goes first on Redis
_ENDS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class UnreadableMessage(Exception):
    """
    A message that is no task call.

    Attributes:
        task_id: Whose result its sender waits for; None where it does not say.
        task: What it calls, as far as it says so.
        field: What of it is wrong; the text says how.
        request: What it says of itself, as far as it could be read.
    """

    def __init__(self, field: str, reason: str, head: Mapping[str, Any]) -> None:
        super().__init__(reason)
        self.field = field
        self.task_id = str(head["id"]) if head.get("id") else None
        self.task = str(head["task"]) if head.get("task") else None
        self.request = Context({name: value for name, value in head.items() if isinstance(name, str)}, delivery_info={})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCall:
    """
    A call of a task.

    Attributes:
        request: What the message says of itself, as a task would have it as `self.request`.
        priority: The message's own, in the words of a job's.
        eta, expires: When it is to begin, and when it is not worth beginning any more; Unix time, seconds.
        time_limit_s: How long it may run.
    """

    task: str
    task_id: str
    args: tuple[Any, ...]
    fields: dict[str, Any]
    request: Context
    priority: str
    eta: float | None
    expires: float | None
    time_limit_s: float | None


def read(raw: bytes, queue: str) -> TaskCall:
    """
    Read a message that stood in a queue's list.

    Raises:
        UnreadableMessage: It is none, or what it carries is no call.
    """
    envelope = _envelope(raw)
    head = envelope.get("headers")
    head = head if isinstance(head, dict) else {}
    try:
        body = _body(envelope, head)
        return _call(body, head, envelope, queue)
    except RecursionError:
        raise UnreadableMessage("request", "is nested too deeply", head) from None


def _envelope(raw: bytes) -> dict[str, Any]:
    try:
        envelope = json.loads(raw)
    except (ValueError, RecursionError):
        envelope = None
    if not isinstance(envelope, dict):
        raise UnreadableMessage("message", "is no message of kombu's for Redis", {})
    return envelope


def _body(envelope: Mapping[str, Any], head: Mapping[str, Any]) -> Any:
    properties = _mapping(envelope, "properties")
    content_type = str(envelope.get("content-type"))
    body = envelope.get("body") or ""
    try:
        if properties.get("body_encoding") == "base64" and isinstance(body, str):
            body = base64.b64decode(body)
        return loads(body, content_type, envelope.get("content-encoding") or "utf-8", accept={"application/json"})
    except ContentDisallowed:
        reason = f"is {content_type!r}, and only JSON is read: set task_serializer='json'"
        raise UnreadableMessage("content_type", reason, _with_id(head, properties)) from None
    except (KombuError, binascii.Error, ValueError, TypeError, LookupError) as exc:
        reason = f"cannot be decoded ({type(exc).__name__})"
        raise UnreadableMessage("body", reason, _with_id(head, properties)) from None


def _with_id(head: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """In protocol 1 the body alone has the id; clients of both repeat it here."""
    return {"id": properties.get("correlation_id"), **head}


def _call(body: Any, head: Mapping[str, Any], envelope: Mapping[str, Any], queue: str) -> TaskCall:
    properties = _mapping(envelope, "properties")
    head, args, fields, ends = _parts(body, _with_id(head, properties))
    if not head.get("id") or not head.get("task"):
        raise UnreadableMessage("message", "names no task, or no id", head)
    if not isinstance(args, list | tuple):
        raise UnreadableMessage("args", "is no list", head)
    if not isinstance(fields, dict):
        raise UnreadableMessage("kwargs", "is no mapping: the request goes into keyword arguments", head)
    request = Context(
        {**{name: value for name, value in head.items() if isinstance(name, str)}, **ends},
        args=args,
        kwargs=fields,
        reply_to=properties.get("reply_to"),
        correlation_id=properties.get("correlation_id"),
        delivery_info={"routing_key": queue, "exchange": "", "priority": _priority(properties)},
    )
    limit = head.get("timelimit")
    return TaskCall(
        task=str(head["task"]),
        task_id=str(head["id"]),
        args=tuple(args),
        fields=fields,
        request=request,
        priority=_in_words(_priority(properties)),
        eta=_moment(head, "eta"),
        expires=_moment(head, "expires"),
        time_limit_s=_seconds(limit[0]) if isinstance(limit, list | tuple) and limit else None,
    )


def _parts(body: Any, head: dict[str, Any]) -> tuple[dict[str, Any], Any, Any, dict[str, Any]]:
    """Head, arguments, keyword arguments, what is to follow: of protocol 2, or of protocol 1, which has one mapping."""
    if isinstance(body, dict):
        head = {**body, **{name: value for name, value in head.items() if value is not None}}
        head["group"] = head.get("group") or body.get("taskset")
        ends = {name: body.get(name) for name in _ENDS}
        return head, body.get("args", ()), body.get("kwargs", {}), ends
    if isinstance(body, list) and len(body) == 3:
        args, fields, embedded = body
        embedded = embedded if isinstance(embedded, dict) else {}
        return head, args, fields, {name: embedded.get(name) for name in _ENDS}
    raise UnreadableMessage("body", "is no task call: a list of arguments, keyword arguments and what follows", head)


def _mapping(envelope: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = envelope.get(name)
    return found if isinstance(found, dict) else {}


def _priority(properties: Mapping[str, Any]) -> int | None:
    priority = properties.get("priority")
    return priority if isinstance(priority, int) else None


def _in_words(priority: int | None) -> str:
    if priority is None or priority in _NORMAL:
        return "normal"
    return "high" if priority in _HIGH else "low"


def _moment(head: Mapping[str, Any], name: str) -> float | None:
    """A moment that is a text of ISO 8601, in UTC where it does not say, or seconds from now on."""
    value = head.get(name)
    if value is None:
        return None
    if (seconds := _seconds(value)) is not None:
        return (datetime.now(UTC) + timedelta(seconds=seconds)).timestamp()
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise UnreadableMessage(name, "is no moment", head) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
