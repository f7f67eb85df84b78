"""
Messages in the lists of Celery's queues, and whether anybody takes what stands there.

A message that was sent to where nobody looks never becomes a job, and its sender hears of nothing. No figure of the
table shows it; so it is looked at the lists themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.client import NEVER_DECODE

from jobs import names
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.ranks import PRIORITY_RANK
from jobs.table.fleet import WorkerReport
from jobs.table.inbox import PRIORITIES, list_of, queue_in_list

_READ_BY_CELERY = tuple(sorted(PRIORITY_RANK.values()))  # the lists that a worker's own consumer reads
_KEYS_AT_A_TIME = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """
    What stands in one list.

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
        """Whether the table alone sends there."""
        return self.of_jobs != self.queue

    def is_taken_by(self, worker: WorkerReport) -> bool:
        """Whether a worker takes messages out of this list."""
        if self.is_line or not worker.reads_lines:  # Versions before took all out of the queue itself.
            is_read = worker.reads_lines == self.is_line and self.priority in _READ_BY_CELERY
            return is_read and worker.serves(self.of_jobs)
        return self.priority is not None and worker.makes_jobs_for(self.queue)


def standing_in(client: redis.Redis, settings: Settings, queues: Iterable[str]) -> list[Standing]:
    """
    What stands in the lists of queues of jobs, and of their lines; nothing of empty lists.

    Raises:
        RedisUnavailable
    """
    lists = [(queue, priority) for each in queues for queue in _with_line(each) for priority in PRIORITIES]
    with map_errors(settings):
        pipeline = client.pipeline(transaction=False)
        for queue, priority in lists:
            pipeline.llen(list_of(queue, priority))
        lengths = pipeline.execute()
    return [
        Standing(queue=queue, priority=priority, key=list_of(queue, priority), messages=length)
        for (queue, priority), length in zip(lists, lengths, strict=True)
        if length
    ]


def _with_line(queue: str) -> tuple[str, ...]:
    try:
        return queue, names.line_of(queue)
    except ValueError:  # Of a version that names its queues otherwise.
        return (queue,)


def find_standing(client: redis.Redis, settings: Settings) -> list[Standing]:
    """
    What stands in whatever list is named as those of our queues are, of models that there are not, too.

    It goes through all keys of Redis: for whoever asks once.

    Raises:
        RedisUnavailable
    """
    found = []
    with map_errors(settings):
        for key in _list_keys(client):
            queue, priority = queue_in_list(key)
            if names.is_queue(queue):
                messages = int(client.llen(key))
                found.append(Standing(queue=queue, priority=priority, key=key, messages=messages))
    return sorted((each for each in found if each.messages), key=lambda each: each.key)


def _list_keys(client: redis.Redis) -> Iterator[str]:
    cursor = 0
    while True:
        reading: dict[str, Any] = {NEVER_DECODE: True}  # Others' keys may be anything.
        scan = ("SCAN", cursor, "COUNT", _KEYS_AT_A_TIME, "TYPE", "list")
        cursor, keys = client.execute_command(*scan, **reading)  # type: ignore[no-untyped-call]
        yield from (key.decode("utf-8", "replace") for key in keys)
        if not cursor:
            return


def nobody_takes(standing: Sequence[Standing], workers: Sequence[WorkerReport]) -> list[Standing]:
    """Those of which no worker takes anything."""
    return [each for each in standing if not any(each.is_taken_by(worker) for worker in workers)]
