"""
Messages of deleted jobs, which nobody has read: they say in a line, for Flower, what was asked for.

They stand in the list of their line until a worker takes them, and among those that are not acknowledged while one has
them in hand, or died with them. To whoever reads one it means nothing: its job has ended.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, cast

import redis

from jobs import names
from jobs.deletions.deletions import Leftover
from jobs.fleet.lists import list_of
from jobs.process.settings import Settings
from jobs.redis.connection import connect, map_errors
from jobs.scripts.ranks import FIRST, LINE

_PIECE = 500  # messages of a list that are read at once
_UNACKED, _UNACKED_INDEX = "unacked", "unacked_index"  # kombu.transport.redis: those that workers have in hand


class Messages:
    """Over a connection of its own, which leaves bytes as they are."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def forget(self, leftovers: Iterable[Leftover]) -> int:
        """
        Take out the messages of these jobs. Returns how many there were.

        Raises:
            RedisUnavailable
        """
        by_queue: dict[str, set[str]] = defaultdict(set)
        for each in leftovers:
            by_queue[each.queue].add(each.job_id)
        wanted = frozenset().union(*by_queue.values())
        with map_errors(self._settings), connect(self._settings, decodes=False) as client:
            lists = [(list_of(line, rank), ids) for line, ids in _lines(by_queue) for rank in (FIRST, LINE)]
            return sum(_forget_in(client, key, ids) for key, ids in lists) + _forget_unacked(client, wanted)


def _lines(by_queue: dict[str, set[str]]) -> list[tuple[str, set[str]]]:
    return [(names.line_of(queue), ids) for queue, ids in by_queue.items()]


def _forget_in(client: redis.Redis, key: str, job_ids: Collection[str]) -> int:
    count, at = 0, 0
    while messages := cast("list[bytes]", client.lrange(key, at, at + _PIECE - 1)):
        theirs = [each for each in messages if _job_of(each) in job_ids]
        for each in theirs:
            count += client.lrem(key, 1, each)  # type: ignore[arg-type]
        at += len(messages) - len(theirs)
    return count


def _forget_unacked(client: redis.Redis, job_ids: Collection[str]) -> int:
    tags = [
        tag for tag, held in cast("dict[bytes, bytes]", client.hgetall(_UNACKED)).items() if _in_hand(held, job_ids)
    ]
    for tag in tags:
        client.hdel(_UNACKED, tag)
        client.zrem(_UNACKED_INDEX, tag)
    return len(tags)


def _in_hand(held: bytes, job_ids: Collection[str]) -> bool:
    message: Any = _read(held)
    return isinstance(message, list) and bool(message) and _id_in(message[0]) in job_ids


def _job_of(message: bytes) -> str | None:
    return _id_in(_read(message))


def _id_in(message: Any) -> str | None:
    """The id of a call; None for what is no message of the table."""
    headers = message.get("headers") if isinstance(message, dict) else None
    if not isinstance(headers, dict) or headers.get("task") != names.RUN_TASK:
        return None
    return str(headers.get("id"))


def _read(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
