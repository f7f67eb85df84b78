"""What a job asks of Redis, counted by Redis itself, while nobody reads it: bounds, of the running system."""

from __future__ import annotations

from typing import Any

import redis
from celery import Celery
from celery.result import AsyncResult

from jobs import names
from ops.process import wait_until
from producer import Client

JOBS = 60
QUEUE = "gpu.shapes"
FIELDS: dict[str, Any] = {"prompt": "a red circle", "num_inference_steps": 2}
MOST_OF_A_JOB, MOST_OF_ONE_FROM_CELERY = 60, 80  # commands, with those that scripts run
DEADLINE_S = 120.0


def commands(client: redis.Redis) -> dict[str, int]:
    """How often each has run, but for those of this test and of connecting."""
    ours = ("info", "xlen", "client|setinfo", "client|setname", "hello", "zcard")
    found = {name.removeprefix("cmdstat_"): each["calls"] for name, each in client.info("commandstats").items()}
    return {name: calls for name, calls in found.items() if name not in ours}


def of_a_job(client: redis.Redis, before: dict[str, int]) -> dict[str, float]:
    """What came since, for each job."""
    found = {name: (calls - before.get(name, 0)) / JOBS for name, calls in commands(client).items()}
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def ends(client: redis.Redis) -> int:
    return int(client.xlen(names.ENDS))


def test_job_that_nobody_reads_costs_few_commands(system: Client, system_redis: redis.Redis) -> None:
    system.submit(**FIELDS).wait(DEADLINE_S)
    before, ended = commands(system_redis), ends(system_redis)
    for _ in range(JOBS):
        system.submit(**FIELDS)
    assert wait_until(lambda: ends(system_redis) >= ended + JOBS, DEADLINE_S)
    found = of_a_job(system_redis, before)
    assert sum(found.values()) <= MOST_OF_A_JOB, found


def test_job_from_celery_that_is_told_costs_few_commands(system: Client, system_redis: redis.Redis) -> None:
    url = system.parts.settings.redis_url
    with Celery(broker=url, backend=url, set_as_current=False) as app:
        before, ended = commands(system_redis), ends(system_redis)
        ids = [app.send_task(names.GENERATE_TASK, kwargs=FIELDS, queue=QUEUE).id for _ in range(JOBS)]
        assert wait_until(
            lambda: ends(system_redis) >= ended + JOBS and not system_redis.zcard(names.outbox_key("celery")),
            DEADLINE_S,
        )
        found = of_a_job(system_redis, before)
        assert sum(found.values()) <= MOST_OF_ONE_FROM_CELERY, found
        assert {AsyncResult(each, app=app).state for each in ids} == {"SUCCESS"}
