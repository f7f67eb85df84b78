"""
Reads Celery messages as clients of all kinds write them: protocols 1 and 2, in kombu's envelope for Redis.

https://docs.celeryq.dev/en/stable/internals/protocol.html; the envelope is that of `kombu.transport.virtual`.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.app.task import Context
from kombu.exceptions import ContentDisallowed
from kombu.serialization import loads
from kombu.utils.encoding import ensure_bytes

from jobs.broker.canvas import is_signature
from jobs.broker.unpacking import MOST_BYTES, NotUnpacked, unpacked

_HIGH, _NORMAL = range(3), range(3, 6)  # of the ten priorities that a message may have; 0 goes first on Redis
_ENDS = ("callbacks", "errbacks", "chain", "chord")  # what may follow a task
_MOST_LEVELS = 300  # of nesting; what goes on with a message nests it deeper, and Python's own limit is 1,000
_IDS = [re.compile(rb'"%s": ?"([^"\\]{1,255})"' % name) for name in (b"id", b"correlation_id")]  # the better one first
_HEAD_BYTES = 1 << 16  # at the end of a message, where kombu writes what is not its body


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
        self.request = Context({**head, "delivery_info": {}})


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
    if len(raw) > MOST_BYTES:
        raise UnreadableMessage("message", f"has more than {MOST_BYTES >> 20} MiB", {"id": id_at_a_glance(raw)})
    envelope = _envelope(raw)
    head = _with_id(_mapping(envelope, "headers"), _mapping(envelope, "properties"))
    try:
        body = _body(envelope, head)
        if _is_deeper_than(_MOST_LEVELS, [body, head]):
            raise RecursionError
        return _call(body, head, envelope, queue)
    except UnreadableMessage:
        raise
    except RecursionError:
        raise UnreadableMessage("request", "is nested too deeply", head) from None
    except Exception as exc:
        raise UnreadableMessage("message", f"cannot be read ({type(exc).__name__})", head) from exc


def id_at_a_glance(raw: bytes) -> str | None:
    """
    The id that a message gives itself, as far as that stands at its end; None where it is not seen there.

    Nothing is decoded, so this can be done with a message that must not be read.
    """
    end = raw[-_HEAD_BYTES:]
    return next((found[1].decode(errors="replace") for each in _IDS if (found := each.search(end))), None)


def _envelope(raw: bytes) -> dict[str, Any]:
    try:
        envelope = json.loads(raw)
    except (ValueError, RecursionError):
        envelope = None
    if not isinstance(envelope, dict):
        raise UnreadableMessage("message", "is not a message of kombu for Redis", {})
    return envelope


def _body(envelope: Mapping[str, Any], head: Mapping[str, Any]) -> Any:
    properties = _mapping(envelope, "properties")
    content_type = str(envelope.get("content-type"))
    body = envelope.get("body") or ""
    try:
        if properties.get("body_encoding") == "base64" and isinstance(body, str):
            body = base64.b64decode(body)
        if compression := head.get("compression"):
            body = unpacked(ensure_bytes(body), str(compression))
        return loads(body, content_type, envelope.get("content-encoding") or "utf-8", accept={"application/json"})
    except ContentDisallowed:
        reason = f"is {content_type!r}, and only JSON is read: set task_serializer='json'"
        raise UnreadableMessage("content_type", reason, head) from None
    except NotUnpacked as exc:
        raise UnreadableMessage(exc.field, str(exc), head) from None
    except RecursionError:
        raise
    except Exception as exc:  # noqa: BLE001 - decoders of all kinds fail in ways of their own
        reason = f"cannot be decoded ({type(exc).__name__})"
        raise UnreadableMessage("body", reason, head) from None


def _with_id(head: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """In protocol 1 the body alone has the id; clients of both repeat it here, some that of an answer of their own."""
    return {"id": properties.get("correlation_id"), **head}


def _call(body: Any, head: dict[str, Any], envelope: Mapping[str, Any], queue: str) -> TaskCall:
    properties = _mapping(envelope, "properties")
    head, args, fields = _parts(body, head)
    if not head.get("id") or not head.get("task"):
        raise UnreadableMessage("message", "has no task or no id", head)
    if not isinstance(args, list | tuple):
        raise UnreadableMessage("args", "is not a list", head)
    if not isinstance(fields, dict):
        raise UnreadableMessage("kwargs", "is not a mapping: send the request as keyword arguments", head)
    request = Context(
        {
            **head,
            "args": args,
            "kwargs": fields,
            "reply_to": properties.get("reply_to"),
            "correlation_id": properties.get("correlation_id"),
            "delivery_info": {"routing_key": queue, "exchange": "", "priority": _priority(properties)},
        }
    )
    return TaskCall(
        task=str(head["task"]),
        task_id=str(head["id"]),
        args=tuple(args),
        fields=fields,
        request=request,
        priority=_in_words(_priority(properties)),
        eta=_moment(head, "eta"),
        expires=_moment(head, "expires"),
        time_limit_s=_time_limit(head),
    )


def _parts(body: Any, head: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    """Head with what is to follow, arguments, keyword arguments: of protocol 2, or of 1, which has one mapping."""
    if isinstance(body, dict):
        head = {**head, **{name: value for name, value in body.items() if value is not None}}
        head["group"] = head.get("group") or body.get("taskset")
        return {**head, **_ends(body, head)}, body.get("args", ()), body.get("kwargs", {})
    if isinstance(body, list) and len(body) == 3:
        args, fields, embedded = body
        return {**head, **_ends(embedded if isinstance(embedded, dict) else {}, head)}, args, fields
    raise UnreadableMessage("body", "is not a task call: a list of arguments, keyword arguments and options", head)


def _ends(properties: Mapping[str, Any], head: dict[str, Any]) -> dict[str, Any]:
    """What is to follow: lists of signatures; a chord's body is one alone."""
    for name in _ENDS:
        value = properties.get(name)
        is_right = is_signature(value) if name == "chord" else _are_signatures(value)
        if value is not None and not is_right:
            raise UnreadableMessage(name, "is not the signature of a task", head)
    return {name: properties.get(name) for name in _ENDS}


def _are_signatures(value: Any) -> bool:
    return isinstance(value, list) and all(is_signature(each) for each in value)


def _is_deeper_than(levels: int, value: Any) -> bool:
    if levels == 0:
        return True
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_is_deeper_than(levels - 1, each) for each in inside)


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
    try:
        if (seconds := _seconds(value)) is not None:
            return (datetime.now(UTC) + timedelta(seconds=seconds)).timestamp()
        moment = datetime.fromisoformat(str(value))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise UnreadableMessage(name, "is not a time", head) from None


def _time_limit(head: Mapping[str, Any]) -> float | None:
    """The hard one of two, the soft one where it stands alone; none, where a client writes them otherwise."""
    limits = head.get("timelimit")
    said = [_seconds(each) for each in limits] if isinstance(limits, list) else []
    return next((each for each in said if each is not None and math.isfinite(each)), None)


def _seconds(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value)
