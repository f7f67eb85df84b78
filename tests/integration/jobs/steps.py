"""What tests of the job table do again and again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import redis

from jobs import names
from jobs.fleet.lists import list_of
from jobs.scripts.ranks import PRIORITY_RANK
from jobs.table.claim import Claim
from jobs.table.submission import Submission
from jobs.table.table import JobTable, QueueCounts
from ops.process import wait_until

QUEUE = "gpu.shapes-flow"
DEADLINE_S = 60.0
WANTS: dict[str, Any] = {"ignore_result": False, "delivery_info": {}}  # what a task of Celery's says of itself

MakeJob = Callable[..., Submission]


def submit(table: JobTable, *submissions: Submission) -> list[str]:
    return [each.job_id for each in table.submit_many(submissions)]


def claim(table: JobTable, job_id: str, owner: str = "a worker") -> Claim:
    claimed, _ = table.claim(job_id, owner=owner)
    assert claimed is not None
    return claimed


def counts(table: JobTable) -> tuple[int, int, int]:
    """Jobs of the queue: waiting, released, running."""
    counted = next((each for each in table.queues() if each.queue == QUEUE), None)
    counted = counted or QueueCounts(queue=QUEUE, waiting=0, released=0, running=0)
    return counted.waiting, counted.released, counted.running


def position(table: JobTable, job_id: str) -> int | None:
    """1 for the queue's next; None for a job that is not queued."""
    place = table.place(job_id)
    return place.position if place else None


def wait_for_redis_clock(client: redis.Redis, moment: float) -> None:
    def is_past() -> bool:
        seconds, microseconds = client.time()
        return seconds + microseconds / 1e6 > moment

    assert wait_until(is_past, DEADLINE_S)


def let_lease_run_out(client: redis.Redis, *job_ids: str) -> None:
    """As if their workers had said nothing for a lease."""
    client.zadd(names.running_key(QUEUE), dict.fromkeys(job_ids, 1.0), xx=True)


def let_look_be_due(client: redis.Redis, *job_ids: str) -> None:
    """As if these jobs had been released long ago."""
    client.zadd(names.released_key(QUEUE), dict.fromkeys(job_ids, 1.0), xx=True)


def turn_of(client: redis.Redis, job_id: str) -> float | None:
    return client.zscore(names.waiting_key(QUEUE, "default"), job_id)


def messages(client: redis.Redis) -> list[str]:
    """Ids of the jobs whose messages stand in the broker's lists, the next to be taken first."""
    lists = [list_of(names.line_of(QUEUE), rank) for rank in sorted(PRIORITY_RANK.values())]
    found = [each for key in lists for each in reversed(cast("list[str]", client.lrange(key, 0, -1)))]
    return [json.loads(each)["headers"]["id"] for each in found]


def line(client: redis.Redis) -> list[str]:
    """Released jobs, the next to be taken first."""
    return cast("list[str]", client.zrange(names.line_key(QUEUE), 0, -1))
