"""Beside processes of the version before, which know windows of callers and no turns: nothing stands still."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.scripts.ranks import LINE
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import QUEUE, MakeJob, claim, counts, line, submit

OLD_HOLDER = "2-0123456789abcdef"


def submit_as_before(client: redis.Redis, a_job: MakeJob, caller: str, released: int, waiting: int) -> list[str]:
    """What the version before leaves of submissions: some released, the others in their caller's set."""
    ids = []
    for number in range(released + waiting):
        job = a_job(caller=caller)
        fields: dict[str, str | int] = {
            "spec": job.spec.model_dump_json(exclude_defaults=True),
            "schema": names.SCHEMA_VERSION,
            "queue": QUEUE,
            "caller": caller,
            "digest": job.digest,
            "origin": "client",
            "created_at": "1.000000",
            "status": "queued",
        }
        place = client.incr(names.TURN)
        turn = f"{3 * 10**14 + place}"
        client.hset(names.job_key(job.job_id), mapping=cast("Any", {**fields, "turn": turn}))
        client.sadd(names.QUEUES, QUEUE)
        client.zadd(names.queued_key(QUEUE), {job.job_id: turn})
        if number < released:
            client.zadd(names.turns_key(QUEUE, caller), {job.job_id: turn})
            client.zadd(names.released_key(QUEUE), {job.job_id: 1e10})
            client.zadd(names.line_key(QUEUE), {job.job_id: f"{LINE * 10**14 + place}"})
        else:
            client.sadd(names.callers_key(QUEUE), caller)
            client.zadd(names.waiting_key(QUEUE, caller), {job.job_id: turn})
        ids.append(job.job_id)
    return ids


def callers_of(table: JobTable, job_ids: Iterable[str]) -> list[str]:
    return [record.caller for record in table.get_many(list(job_ids))]


@pytest.fixture
def before(redis_client: redis.Redis) -> None:
    """A process of the version before puts things right."""
    redis_client.set(names.RECONCILER, OLD_HOLDER)


# An upgrade.


def test_what_stands_beyond_the_line_waits_for_its_turn_once(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    redis_client.hdel("imagemill:server", "has_shares")
    one = submit_as_before(redis_client, a_job, "one", released=5, waiting=3)
    two = submit_as_before(redis_client, a_job, "two", released=5, waiting=0)
    reconciler.run_once()
    assert counts(narrow) == (11, 2, 0)
    assert line(redis_client) == one[:2]
    assert claim(narrow, one[0]).epoch == 1
    assert narrow.claim(one[4], owner="a worker", gives_way=True) == (None, [])  # An old message, which means nothing.
    began = {"one": 1, "two": 0}
    while sum(began.values()) < 13:
        (job_id, *_) = line(redis_client)
        began[claim(narrow, job_id).record.caller] += 1
    assert began == {"one": len(one), "two": len(two)}
    later = submit_as_before(redis_client, a_job, "one", released=5, waiting=0)
    reconciler.run_once()
    assert counts(narrow) == (0, len(later), 13)


def test_process_of_this_version_takes_over_from_one_of_the_version_before(
    reconciler: Reconciler, redis_client: redis.Redis, before: None
) -> None:
    assert reconciler.run_once() is not None
    assert str(redis_client.get(names.RECONCILER)).startswith(f"{names.RECONCILER_VERSION}-")


# Producers of the version before, beside workers of this one.


def test_jobs_that_a_producer_of_the_version_before_let_wait_take_turns(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    ours = submit(narrow, *(a_job(caller="ours") for _ in range(10)))
    theirs = submit_as_before(redis_client, a_job, "theirs", released=0, waiting=3)
    reconciler.run_once()
    released = [each for job_id in ours[:2] for each in narrow.claim(job_id, owner="a worker")[1]]
    assert callers_of(narrow, released) == ["theirs", "ours"]
    assert released[0] == theirs[0]


def test_window_of_a_producer_of_the_version_before_keeps_nobody(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    """It fills the line again with each of its submissions, so what it released leaves the others' room alone."""
    submit_as_before(redis_client, a_job, "theirs", released=50, waiting=0)
    (own,) = submit(narrow, a_job(caller="ours"))
    assert counts(narrow) == (0, 51, 0)
    claim(narrow, own)


# Producers of this version, where all workers and API processes are of the version before.


def test_each_caller_has_jobs_released_where_only_its_own_claims_release_more(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis, before: None
) -> None:
    for caller in ("one", "two", "three"):
        submit(narrow, *(a_job(caller=caller) for _ in range(5)))
    released = line(redis_client)
    assert sorted(callers_of(narrow, released)) == sorted(["one", "two", "three"] * 2)
    assert counts(narrow) == (9, 6, 0)


def test_resumed_queue_has_jobs_of_each_caller_there(
    narrow: JobTable, a_job: MakeJob, control: QueueControl, redis_client: redis.Redis, before: None
) -> None:
    control.pause(QUEUE)
    for caller in ("one", "two", "three"):
        submit(narrow, *(a_job(caller=caller) for _ in range(5)))
    assert counts(narrow) == (15, 0, 0)
    control.resume(QUEUE)
    released = line(redis_client)
    assert {"one", "two", "three"} == set(callers_of(narrow, released))


def test_canceled_job_leaves_its_place_to_its_callers_next_there(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis, before: None
) -> None:
    submit(narrow, *(a_job(caller="one") for _ in range(2)))
    first, second, third = submit(narrow, *(a_job(caller="two") for _ in range(3)))
    assert narrow.cancel(first) == (Status.CANCELED, [third])
    assert set(redis_client.zrange(names.turns_key(QUEUE, "two"), 0, -1)) == {second, third}


def test_what_waits_is_known_to_the_version_before(narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis) -> None:
    """Its `queue resume` releases jobs of these callers, so that a rollback leaves none behind."""
    for caller in ("one", "two", "three"):
        submit(narrow, *(a_job(caller=caller) for _ in range(2)))
    assert redis_client.smembers(names.callers_key(QUEUE)) == {"two", "three"}
