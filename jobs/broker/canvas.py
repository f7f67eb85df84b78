"""Whether what is to follow a task can be sent when its time comes: the sender learns at once that it cannot."""

from __future__ import annotations

import copy
from typing import Any

from celery import signature

_PARTS = {"args": list, "kwargs": dict, "options": dict}
_WHERE_TO = ("task_id", "queue", "exchange", "routing_key")
_CANVAS = {"celery.group": "group", "celery.chain": "chain", "celery.chord": "chord"}  # else they are plain tasks


def is_signature(value: Any) -> bool:
    """Whether it is a signature as Celery's clients write them, of a canvas with all of its parts."""
    return _has_its_parts(value) and _can_be_made(value)


def _has_its_parts(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("task"), str):
        return False
    if not all(isinstance(value.get(name), kind) for name, kind in _PARTS.items()):
        return False
    options = value["options"]
    if value["task"] in _CANVAS and value.get("subtask_type") != _CANVAS[value["task"]]:
        return False
    if not all(isinstance(options.get(name), str | None) for name in _WHERE_TO):
        return False
    return all(map(_has_its_parts, _parts_of(value["task"], value["kwargs"])))


def _parts_of(task: str, fields: dict[str, Any]) -> list[Any]:
    """What a canvas is made of. What there should be and is not is a part, too, and no signature."""
    match task:
        case "celery.group" | "celery.chain":
            return _listed(fields.get("tasks"))
        case "celery.chord":
            header = fields.get("header")
            return [*([header] if isinstance(header, dict) else _listed(header)), fields.get("body")]
        case _:
            return []


def _listed(parts: Any) -> list[Any]:
    return parts if isinstance(parts, list) else [parts]


def _can_be_made(value: dict[str, Any]) -> bool:
    try:
        signature(copy.deepcopy(value))  # It writes into what it is given.
    except Exception:  # noqa: BLE001 - each type of a canvas fails in ways of its own
        return False
    return True
