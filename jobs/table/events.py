"""A job's events, read from its stream in Redis as they come."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import redis

from jobs.errors import InvalidRequest
from jobs.names import events_key
from jobs.process.settings import Settings
from jobs.redis.connection import SOCKET_TIMEOUT_S, map_errors

EventType = Literal["status", "progress", "data", "completed"]

EVENT_ID = "^[0-9]{1,19}(-[0-9]{1,19})?$"
_BLOCK_S = SOCKET_TIMEOUT_S / 2  # Less than the socket's own timeout, which would break the connection.


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """
    Something that happened to a job.

    Attributes:
        id: Of the stream entry; reading can go on behind it.
        type: "status" (it was claimed), "progress" (a stage or step was reached), "data" (it sends something that it
            made on its way), or "completed" (it ended; the last); or what a newer version calls it.
        data: `status`; or `stage`, `step` and `steps`; or `data`, which is the kind's own.
    """

    id: str
    type: EventType | str
    data: dict[str, Any]


def event_of(entry_id: str, fields: Mapping[str, str]) -> Event:
    """An event as it stands in the stream. What is not understood of its data is left out."""
    return Event(id=entry_id, type=fields.get("type", ""), data=_data(fields.get("data", "")))


def _data(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def progress_in(event: Event) -> tuple[str, int, int]:
    """The stage, step and steps of an event of progress; empty and 0 where it has none."""
    step, steps = (value if isinstance(value, int) else 0 for value in map(event.data.get, ("step", "steps")))
    return str(event.data.get("stage", "")), step, steps


def check_event_id(text: str, field: str) -> str:
    """
    The id of an event that reading is to go on behind; "0" for the beginning.

    Raises:
        InvalidRequest: It is none; names `field`.
    """
    if not re.fullmatch(EVENT_ID, text):
        raise InvalidRequest(field, "is not the id of an event, such as 1764000000000-0")
    return text


def is_later(entry_id: str, other: str) -> bool:
    """Whether an event comes behind another; both are ids that `check_event_id` lets pass."""
    return _order(entry_id) > _order(other)


def _order(entry_id: str) -> tuple[int, int]:
    moment, _, number = entry_id.partition("-")
    return int(moment), int(number or 0)


def follow(
    client: redis.Redis,
    settings: Settings,
    job_id: str,
    *,
    after: str = "0",
    timeout_s: float | None = None,
    watch: Callable[[], None] = lambda: None,
) -> Iterator[Event]:
    """
    Yield a job's events behind `after`, as they come, up to "completed".

    Ends early, without that event, when `timeout_s` has passed.

    Args:
        watch: Says that somebody reads the job; called every few seconds. Without, progress comes only as far as
            somebody else watches.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    watched_at = float("-inf")
    while not _is_over(client, settings, job_id, after):
        left_s = _BLOCK_S if deadline is None else min(_BLOCK_S, deadline - time.monotonic())
        if left_s <= 0:
            return
        if time.monotonic() - watched_at >= _BLOCK_S / 2:
            watch()
            watched_at = time.monotonic()
        for event in _read(client, settings, job_id, after, left_s):
            after = event.id
            yield event
            if event.type == "completed":
                return


def _is_over(client: redis.Redis, settings: Settings, job_id: str, after: str) -> bool:
    """Whether `after` is the last event that this job will have."""
    with map_errors(settings):
        last: Any = client.xrevrange(events_key(job_id), count=1)
    return bool(last) and last[0][0] == after and last[0][1].get("type") == "completed"


def _read(client: redis.Redis, settings: Settings, job_id: str, after: str, block_s: float) -> list[Event]:
    with map_errors(settings):
        reply: Any = client.xread({events_key(job_id): after}, block=max(1, int(block_s * 1000)))
    if not reply:
        return []
    # redis-py gives a dict of lists of pages with RESP3, and a list of pairs with RESP2.
    entries = next(iter(reply.values()))[0] if isinstance(reply, dict) else reply[0][1]
    return [event_of(number, fields) for number, fields in entries]
