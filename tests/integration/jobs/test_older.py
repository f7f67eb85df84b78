"""Records that an older version left: tests/blackbox/test_upgrades.py shows and runs them, here they are replayed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest
import redis

from jobs import names
from jobs.errors import RecordUnreadable
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.dumps import restore
from tests.integration.jobs.steps import MakeJob, submit

DATA = Path(__file__).parents[2] / "data"
DEADLINES = {"start_deadline": "start_by", "deadline": "end_by"}


def record(client: redis.Redis, job_id: str) -> dict[str, str]:
    return cast("dict[str, str]", client.hgetall(names.job_key(job_id)))


@pytest.mark.parametrize("version", ["first", "0.1.0"])
def test_job_of_an_older_version_is_replayed_with_its_deadlines(
    redis_client: redis.Redis, narrow: JobTable, control: QueueControl, version: str
) -> None:
    restore(redis_client, json.loads((DATA / f"{version}.json").read_text("utf-8")))
    found: set[str] = set()
    for job_id in cast("list[str]", redis_client.zrange(names.JOBS, 0, -1)):
        narrow.cancel(job_id)
        before = record(redis_client, job_id)
        if before["status"] in (Status.PROCESSING, Status.SUCCEEDED) or "spec" not in before:
            continue
        assert control.replay(job_id).status is Status.QUEUED
        after, spec = record(redis_client, job_id), json.loads(before["spec"])
        assert after["spec"] == before["spec"]
        for deadline, moment in DEADLINES.items():
            due = float(after["replayed_at"]) + spec[deadline] if deadline in spec else None
            assert after.get(moment) == (None if due is None else f"{due:.6f}")
        found |= DEADLINES.keys() & spec.keys()
    assert found == DEADLINES.keys()


def test_job_whose_specification_is_damaged_is_left_as_it_is(
    redis_client: redis.Redis, narrow: JobTable, control: QueueControl, a_job: MakeJob
) -> None:
    (job_id,) = submit(narrow, a_job())
    narrow.cancel(job_id)
    redis_client.hset(names.job_key(job_id), "spec", "{broken")
    before = record(redis_client, job_id)
    with pytest.raises(RecordUnreadable, match=job_id):
        control.replay(job_id)
    assert record(redis_client, job_id) == before
