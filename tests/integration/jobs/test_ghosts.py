"""Ids that stand in a list though their job has ended, or has gone: they take nobody's room."""

from __future__ import annotations

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.scripts.ranks import PRIORITY_RANK, TURN
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import QUEUE, MakeJob, claim, counts, let_look_be_due, line, messages, submit

CALLER = "default"


def let_stand(client: redis.Redis, *job_ids: str, rank: int = PRIORITY_RANK["normal"]) -> None:
    """As if whoever ended these jobs had known nothing of their place in line."""
    for number, job_id in enumerate(job_ids):
        client.zadd(names.line_key(QUEUE), {job_id: TURN * 10**14 + number})
        client.zadd(names.turns_key(QUEUE, CALLER), {job_id: rank * 10**14 + number})
        client.zadd(names.released_key(QUEUE), {job_id: 1e10})


def ended(table: JobTable, a_job: MakeJob, count: int = 2) -> list[str]:
    ids = submit(table, *(a_job() for _ in range(count)))
    for job_id in ids:
        assert table.cancel(job_id)[0] is Status.CANCELED
    return ids


def test_job_for_later_that_has_ended_never_waits(
    narrow: JobTable, a_job: MakeJob, reconciler: Reconciler, redis_client: redis.Redis
) -> None:
    """A process of the version before ended it, which knows nothing of jobs for later."""
    submit(narrow, *(a_job(caller="fills-the-line") for _ in range(2)))
    ids = submit(narrow, *(a_job(start_after=3600) for _ in range(3)))
    for job_id in ids:
        narrow.cancel(job_id)
    gone = ids[2]
    redis_client.delete(names.job_key(gone))
    redis_client.zadd(names.later_key(QUEUE), dict.fromkeys(ids, 1.0))
    redis_client.sadd(names.later_of_key(QUEUE, CALLER), *ids[:2])
    reconciler.run_once()
    assert counts(narrow) == (0, 2, 0)
    for key in (names.later_key(QUEUE), names.later_of_key(QUEUE, CALLER), names.waiting_key(QUEUE, CALLER)):
        assert not redis_client.exists(key)


def test_claim_of_an_ended_job_that_stands_in_the_line_releases_the_next(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    ghosts = ended(narrow, a_job)
    let_stand(redis_client, *ghosts)
    waiting = submit(narrow, *(a_job(caller="other") for _ in range(2)))
    assert line(redis_client) == ghosts
    assert [narrow.claim(each, owner="a worker", gives_way=True) for each in ghosts] == [
        (None, [each]) for each in waiting
    ]
    assert line(redis_client) == waiting
    assert not redis_client.exists(names.turns_key(QUEUE, CALLER))
    assert narrow.get(ghosts[0]).status is Status.CANCELED


@pytest.mark.parametrize("has_gone", [False, True])
def test_look_for_the_message_of_an_ended_job_releases_the_next(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler, has_gone: bool
) -> None:
    ghosts = ended(narrow, a_job)
    let_stand(redis_client, *ghosts)
    waiting = submit(narrow, *(a_job(caller="other") for _ in range(2)))
    if has_gone:
        redis_client.delete(*map(names.job_key, ghosts))
    let_look_be_due(redis_client, *ghosts)
    reconciler.run_once()
    assert line(redis_client) == messages(redis_client) == waiting
    assert set(redis_client.zrange(names.released_key(QUEUE), 0, -1)) == set(waiting)


@pytest.mark.parametrize("has_gone", [False, True])
def test_no_job_gives_way_to_one_that_has_ended(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis, has_gone: bool
) -> None:
    (ghost,) = ended(narrow, a_job, 1)
    redis_client.zadd(names.turns_key(QUEUE, CALLER), {ghost: 1.0})
    redis_client.zadd(names.waiting_key(QUEUE, CALLER), {ghost: 1.0})
    if has_gone:
        redis_client.delete(names.job_key(ghost))
    (job_id,) = submit(narrow, a_job())
    assert narrow.claim(job_id, owner="a worker", gives_way=True)[0] is not None


def test_ended_job_that_stands_with_those_that_wait_is_not_released(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    (ghost,) = ended(narrow, a_job, 1)
    first, second, waits = submit(narrow, *(a_job() for _ in range(3)))
    redis_client.zadd(names.waiting_key(QUEUE, CALLER), {ghost: 1.0})
    claim(narrow, first)
    assert line(redis_client) == [second, waits]


def test_callers_of_whom_nothing_waits_are_passed_a_few_at_a_time(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    """A process of the version before took what they had."""
    submit(narrow, *(a_job() for _ in range(2)))
    (last,) = submit(narrow, a_job(caller="waits"))
    left = {f"left-{number:03}": number / 1e3 for number in range(200)}
    redis_client.zadd(names.shares_key(QUEUE), {**left, "waits": 1.0})
    claim(narrow, line(redis_client)[0])
    assert redis_client.zcard(names.shares_key(QUEUE)) > 100
    passes = 0
    while (done := reconciler.run_once()) and done.has_more:
        passes += 1
    assert 2 < passes < 20
    assert last in line(redis_client)
    assert not redis_client.exists(names.shares_key(QUEUE))
