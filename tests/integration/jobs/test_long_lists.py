"""Lists that are long are read in pieces, so that Redis is held up by none: counted by Redis itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from jobs import names
from jobs.process.settings import Settings
from jobs.table.outbox import Outbox
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import MakeJob, submit

MANY = 3_000
MOST = 250  # entries that one command or script looks at
PROTOCOL = "celery"

Calls = Callable[[str], int]


@pytest.fixture
def table(redis_client: redis.Redis, settings: Settings) -> JobTable:
    return JobTable(redis_client, settings)


@pytest.fixture
def calls(redis_client: redis.Redis) -> Calls:
    """How often a command was called since, by scripts or not."""

    def count(command: str) -> int:
        return int(redis_client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))

    before: dict[str, int] = {each: count(each) for each in ("evalsha", "hmget", "zscan", "zrevrange")}
    return lambda command: count(command) - before[command]


@pytest.fixture
def jobs(table: JobTable, a_job: MakeJob) -> list[str]:
    job = a_job()
    return submit(table, *(replace(job, job_id=f"job-{number:04}") for number in range(MANY)))


@pytest.mark.parametrize("sought", [{"status": Status.SUCCEEDED}, {"model": "other"}])
def test_no_script_looks_at_more_of_a_list_than_its_piece_though_nothing_fits(
    jobs: list[str], table: JobTable, calls: Calls, sought: dict[str, Any]
) -> None:
    assert table.list_jobs(**sought) == ([], None)
    assert calls("hmget") == MANY
    assert calls("evalsha") >= MANY / MOST


def test_dead_are_listed_in_pieces_the_last_first(
    jobs: list[str], table: JobTable, redis_client: redis.Redis, control: QueueControl, calls: Calls
) -> None:
    redis_client.zadd(names.DEAD, {job_id: at for at, job_id in enumerate(jobs)})
    assert [each.id for each in control.dead()] == jobs[::-1]
    assert calls("zscan") >= MANY / MOST / 2
    assert calls("zrevrange") == 0


def test_ends_that_were_given_up_are_listed_in_pieces_the_last_first(
    redis_client: redis.Redis, settings: Settings, calls: Calls
) -> None:
    given_up = {f"job-{number}": float(number) for number in range(MANY)}
    redis_client.zadd(names.given_up_key(PROTOCOL), given_up)
    assert Outbox(redis_client, settings, PROTOCOL).given_up_at() == list(given_up.items())[::-1]
    assert calls("zscan") >= MANY / MOST / 2
    assert calls("zrevrange") == 0
