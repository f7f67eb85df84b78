"""What a plain Celery message asks for, in the words of a request."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from jobs import names
from jobs.broker.messages import TaskCall
from jobs.envelope import Envelope
from jobs.errors import InvalidRequest
from jobs.fields import MAX_S
from jobs.kinds.registry import KINDS

_BOUNDS = ("start_deadline", "time_limit")
_LEAST_S = 0.001  # of a deadline that has passed already: the table takes no other


def named_by(call: TaskCall) -> Mapping[str, Any]:
    """The fields of a message with its kind, as far as can be said before they are looked at."""
    return {"kind": names.kind_of_task(call.task), **_own(call)}


def asked(queue: str, call: TaskCall) -> dict[str, Any]:
    """
    The request of a message.

    Args:
        queue: That it was sent to.

    Raises:
        InvalidRequest: The message says something else than a request.
    """
    if (kind := names.kind_of_task(call.task)) not in KINDS:
        raise InvalidRequest("task", f"there is no task {call.task!r}; send {names.GENERATE_TASK}")
    if not names.is_job_id(call.task_id):
        raise InvalidRequest("id", "use letters, digits, '.', '_' and '-'")
    if call.args:
        raise InvalidRequest("args", "send the request as keyword arguments: kwargs={'prompt': …}")
    own = _own(call)
    if own.get("kind", kind) != kind and call.task != names.GENERATE_TASK:  # Which is for any kind.
        raise InvalidRequest("kind", f"the task is {call.task}; leave kind out")
    return {"kind": kind, **_said_by(queue, call), **own}


def _own(call: TaskCall) -> dict[str, Any]:
    return {name: value for name, value in call.fields.items() if value is not None}


def said_of_times(call: TaskCall, request: Envelope) -> dict[str, float | None]:
    """
    What the message says of its times, in the words of a job's; not part of the request, and of its digest.

    What the request itself says goes first; of two moments until which it has to begin, the earlier holds.
    """
    now, said = time.time(), {}
    if call.eta is not None and call.eta > now and request.start_after is None:
        said["start_after"] = call.eta - now
    if call.expires is not None:
        left_s, own_s = max(_LEAST_S, call.expires - now), request.start_deadline
        said["start_deadline"] = left_s if own_s is None else min(left_s, own_s)
    if call.time_limit_s is not None and call.time_limit_s > 0 and request.time_limit is None:
        said["time_limit"] = call.time_limit_s
    return _bounded(said)


def _said_by(queue: str, call: TaskCall) -> dict[str, str]:
    """What a request need not say: its priority, and the model where the queue is one's and the kind has one."""
    named = call.fields.get("kind") or names.kind_of_task(call.task)
    kind, model = KINDS.get(str(named)), names.model_of(queue)
    said = {"priority": call.priority}
    return said | {"model": model} if kind is not None and kind.needs_model and model is not None else said


def _bounded(said: dict[str, float]) -> dict[str, float | None]:
    """
    What only ends a job may be as far away as its sender likes: it is ended no later than any other.

    Of one that has expired nothing else matters: it ends as that, however late it was to begin.
    """
    if said.get("start_deadline") == _LEAST_S:
        return {"start_deadline": _LEAST_S, "start_after": None}
    return {name: min(value, MAX_S) if name in _BOUNDS else value for name, value in said.items()}
