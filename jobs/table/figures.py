"""The figures of the whole system, for metrics: what stands in the queues, what happened so far, how full Redis is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from jobs.fleet.backlog import ListBacklog, backlog_in
from jobs.process.settings import Settings
from jobs.redis.memory import Memory, read_memory
from jobs.scripts.ranks import PRIORITY_RANK
from jobs.scripts.scripts import Scripts
from jobs.table.outbox import Outbox, OutboxCounts

_FAILED = "failed:"
_EVENTS = ("submitted", "lapsed", "adopted", "refused")  # of a queue, beside the ends of its jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigures:
    """
    One queue.

    Attributes:
        queued: Jobs that have not begun, by priority.
        oldest_s: How long the oldest of them has been queued, by priority; 0 where there is none.
        released: How many of them are released to Celery.
        running: Jobs that a worker holds.
        later: Jobs that are not to begin yet; they are not among the queued ones.
        submitted, ended, failed, lapsed: What happened since the first job: submissions and replays, ends by status,
            failures by error code, leases that ran out.
        adopted, refused: Messages from outside of which jobs were made, and others, of which none could be made.
    """

    queue: str
    queued: Mapping[str, int]
    oldest_s: Mapping[str, float]
    released: int
    running: int
    is_paused: bool
    submitted: int
    ended: Mapping[str, int]
    failed: Mapping[str, int]
    lapsed: int
    later: int = 0
    adopted: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """
    The whole system.

    Attributes:
        queues: Every queue that ever had a job, by name.
        dead: Jobs on the list of the dead.
        kept: Jobs that have a record.
        held: Messages from outside that a worker has taken, and no jobs yet, by queue; of the first 1,000.
        memory: Of Redis; None where it does not say.
    """

    queues: tuple[QueueFigures, ...]
    dead: int
    kept: int
    held: Mapping[str, int]
    memory: Memory | None


class FigureReader:
    """Asks Redis: a few round trips, and work that grows with the number of queues, not of jobs."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._scripts = Scripts(client, settings)

    def read(self) -> Figures:
        """
        The figures of this moment.

        Raises:
            RedisUnavailable
        """
        queues, dead, kept, tags = self._scripts.run("figures", priorities=list(PRIORITY_RANK))
        memory = read_memory(self._redis, self._settings)
        return Figures(
            queues=tuple(sorted((_read(each) for each in queues), key=lambda figures: figures.queue)),
            dead=dead,
            kept=kept,
            held=Counter(tag.partition(" ")[2] for tag in tags),
            memory=memory,
        )

    def backlog(self, queues: Iterable[str]) -> list[ListBacklog]:
        """What stands in the lists of these queues, their lines, and others found lately. Raises as `read` does."""
        return backlog_in(self._redis, self._settings, queues)

    def ends(self, protocols: Iterable[str]) -> dict[str, OutboxCounts]:
        """What stands in the outboxes of these protocols. Raises as `read` does."""
        return {each: Outbox(self._redis, self._settings, each).counts() for each in protocols}


def _read(answer: list[Any]) -> QueueFigures:
    queue, running, released, later, is_paused, flat, ranks = answer
    counts = {name: int(count) for name, count in zip(flat[::2], flat[1::2], strict=True) if count.isdecimal()}
    by_priority = dict(zip(PRIORITY_RANK, ranks, strict=True))
    submitted, lapsed, adopted, refused = (counts.pop(name, 0) for name in _EVENTS)
    failed = {name.removeprefix(_FAILED): count for name, count in counts.items() if name.startswith(_FAILED)}
    return QueueFigures(
        queue=queue,
        queued={priority: count for priority, (count, _) in by_priority.items()},
        oldest_s={priority: float(oldest_s or 0) for priority, (_, oldest_s) in by_priority.items()},
        released=released,
        running=running,
        is_paused=bool(is_paused),
        submitted=submitted,
        ended={name: count for name, count in counts.items() if not name.startswith(_FAILED)},
        failed=failed,
        lapsed=lapsed,
        later=later,
        adopted=adopted,
        refused=refused,
    )
