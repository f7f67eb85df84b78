"""
Messages in the lists of Celery's queues, and whether a worker receives them.

A message in a list that no worker reads never becomes a job, and its sender gets no answer. No metric of the
table shows it, so the lists themselves are checked.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.client import NEVER_DECODE

from jobs import names
from jobs.fleet.fleet import WorkerReport
from jobs.fleet.lists import PRIORITIES, list_of, queue_in_list
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.ranks import PRIORITY_RANK

_READ_BY_CELERY = tuple(sorted(PRIORITY_RANK.values()))  # the lists that a worker's own consumer reads
_KEYS_AT_A_TIME = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ListBacklog:
    """
    The messages in one list.

    Attributes:
        queue: Of Celery: one of jobs, for what others send, or the line of one, for what the table does.
        priority: Of its messages; None for a list that is named as kombu names none.
        key: The list's own name.
        messages: How many.
    """

    queue: str
    priority: int | None
    key: str
    messages: int

    @property
    def of_jobs(self) -> str:
        """The queue of jobs that it is about."""
        return names.queue_of_line(self.queue) or self.queue

    @property
    def is_line(self) -> bool:
        """Whether only the table sends there."""
        return self.of_jobs != self.queue

    def is_taken_by(self, worker: WorkerReport) -> bool:
        """Whether a worker takes messages out of this list."""
        if self.is_line or not worker.reads_lines:  # Versions before took all out of the queue itself.
            is_read = worker.reads_lines == self.is_line and self.priority in _READ_BY_CELERY
            return is_read and worker.serves(self.of_jobs)
        return self.priority is not None and worker.makes_jobs_for(self.queue)


def backlog_in(client: redis.Redis, settings: Settings, queues: Iterable[str]) -> list[ListBacklog]:
    """
    The messages in the lists of job queues and of their lines, and in other lists with similar names that were found
    lately (see `jobs.fleet.queue_scanner`); nothing of empty lists.

    Raises:
        RedisUnavailable
    """
    known = [list_of(queue, priority) for each in queues for queue in _with_line(each) for priority in PRIORITIES]
    with map_errors(settings):
        noted: list[str] = json.loads(cast("str | None", client.get(names.LISTS)) or "[]")
        keys = list(dict.fromkeys([*known, *noted]))
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.llen(key)
        found = zip(keys, pipeline.execute(raise_on_error=False), strict=True)
        return [_backlog(key, length) for key, answer in found if (length := _length(answer))]


def _length(answer: Any) -> int:
    """As Redis answered; of a list that was found there may be something else in its place by now."""
    if isinstance(answer, Exception) and not str(answer).startswith("WRONGTYPE"):
        raise answer
    return 0 if isinstance(answer, Exception) else int(answer)


def _backlog(key: str, messages: int) -> ListBacklog:
    queue, priority = queue_in_list(key)
    return ListBacklog(queue=queue, priority=priority, key=key, messages=messages)


def _with_line(queue: str) -> tuple[str, ...]:
    try:
        return queue, names.line_of(queue)
    except ValueError:  # Of a version that names its queues otherwise.
        return (queue,)


def find_backlog(client: redis.Redis, settings: Settings) -> list[ListBacklog]:
    """
    The messages in every list that is named like those of our queues, including models that do not exist.

    It scans all keys of Redis: for a single check.

    Raises:
        RedisUnavailable
    """
    found = []
    with map_errors(settings):
        for key in _list_keys(client):
            if names.is_queue(queue_in_list(key)[0]):
                found.append(_backlog(key, int(client.llen(key))))
    return sorted((each for each in found if each.messages), key=lambda each: each.key)


def _list_keys(client: redis.Redis) -> Iterator[str]:
    cursor = 0
    while True:
        cursor, keys = scan_lists(client, cursor)
        yield from keys
        if not cursor:
            return


def scan_lists(client: redis.Redis, cursor: int) -> tuple[int, list[str]]:
    """
    Look at the next 1,000 keys of Redis. Returns where to go on, 0 at the end, and those that are lists.

    Raises what redis-py does.
    """
    reading: dict[str, Any] = {NEVER_DECODE: True}  # Others' keys may be anything.
    scan = ("SCAN", cursor, "COUNT", _KEYS_AT_A_TIME, "TYPE", "list")
    behind, keys = client.execute_command(*scan, **reading)  # type: ignore[no-untyped-call]
    return int(behind), [key.decode("utf-8", "replace") for key in keys]


def nobody_takes(backlog: Sequence[ListBacklog], workers: Sequence[WorkerReport]) -> list[ListBacklog]:
    """Those of which no worker takes anything."""
    return [each for each in backlog if not any(each.is_taken_by(worker) for worker in workers)]


def unread_in(backlog: Sequence[ListBacklog], workers: Sequence[WorkerReport]) -> dict[str, int]:
    """How many messages are in lists that no worker receives from, by Celery's queue."""
    counts: Counter[str] = Counter()
    for each in nobody_takes(backlog, workers):
        counts[each.queue] += each.messages
    return dict(counts)
