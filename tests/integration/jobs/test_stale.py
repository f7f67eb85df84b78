"""Messages of jobs that are not released any more do not gather, though no worker takes them."""

from __future__ import annotations

import json

import pytest
import redis

from jobs import names
from jobs.broker.dispatch import Dispatcher
from jobs.broker.reconcile import Reconciled, Reconciler
from jobs.fleet.lists import list_of
from jobs.scripts.ranks import FIRST, LINE
from jobs.table.queues import QueueControl
from jobs.table.table import JobTable
from tests.integration.jobs.steps import QUEUE, MakeJob, claim, let_look_be_due, line, messages, submit

LEFT, AT_A_TIME = 4, 10  # in a list; by a pass
BEHIND = list_of(names.line_of(QUEUE), LINE)
BEFORE = list_of(names.line_of(QUEUE), FIRST)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.broker.stale._MOST_STALE", LEFT)
    monkeypatch.setattr("jobs.broker.stale._MOST_AT_A_TIME", AT_A_TIME)


def cancel_released(narrow: JobTable, dispatcher: Dispatcher, client: redis.Redis, count: int) -> None:
    """The one released last, again and again: each makes room for the next, which has a message, too."""
    for _ in range(count):
        dispatcher.send(narrow.cancel(line(client)[-1])[1])


@pytest.fixture
def waiting(narrow: JobTable, dispatcher: Dispatcher, a_job: MakeJob) -> list[str]:
    """Of forty, two are released, and have their messages."""
    ids = submit(narrow, *(a_job() for _ in range(40)))
    dispatcher.send(ids[:2])
    return ids


def passes(reconciler: Reconciler) -> list[int]:
    """How many messages each pass drops, until there is no more to do."""
    dropped = []
    while (done := reconciler.run_once()) and done.has_more:
        assert done == Reconciled(dropped=done.dropped)
        dropped.append(done.dropped)
    assert done == Reconciled()
    return dropped


def test_messages_of_canceled_jobs_are_dropped_some_in_each_pass_and_those_of_released_ones_stay(
    narrow: JobTable, dispatcher: Dispatcher, redis_client: redis.Redis, reconciler: Reconciler, waiting: list[str]
) -> None:
    cancel_released(narrow, dispatcher, redis_client, 25)
    assert len(messages(redis_client)) == 27
    dropped = passes(reconciler)
    assert len(dropped) > 1
    assert max(dropped) <= AT_A_TIME + 2
    left = messages(redis_client)
    assert len(left) == 27 - sum(dropped) <= 2 + LEFT
    assert [left[0], left[-1]] == line(redis_client) == [waiting[0], waiting[26]]
    claim(narrow, waiting[0])


def test_messages_of_expired_jobs_are_dropped(
    narrow: JobTable, dispatcher: Dispatcher, redis_client: redis.Redis, reconciler: Reconciler, waiting: list[str]
) -> None:
    """Each pass releases others in their place."""
    for job_id in waiting[:20]:
        redis_client.hset(names.job_key(job_id), "end_by", 1)
        redis_client.zadd(names.DEADLINES, {job_id: 1.0})
        reconciler.run_once()
    passes(reconciler)
    assert len(messages(redis_client)) <= 2 + LEFT
    assert messages(redis_client)[-2:] == line(redis_client) == waiting[20:22]


def test_few_are_left_to_the_workers(
    narrow: JobTable, dispatcher: Dispatcher, redis_client: redis.Redis, reconciler: Reconciler, waiting: list[str]
) -> None:
    cancel_released(narrow, dispatcher, redis_client, LEFT)
    assert reconciler.run_once() == Reconciled()
    assert len(messages(redis_client)) == 2 + LEFT


def test_those_where_workers_look_first_are_dropped(
    redis_client: redis.Redis, reconciler: Reconciler, waiting: list[str]
) -> None:
    (message,) = [each for each in redis_client.lrange(BEHIND, 0, -1) if waiting[1] in str(each)]
    for number in range(20):
        redis_client.lpush(BEFORE, str(message).replace(waiting[1], f"gone-{number}"))
    redis_client.rpush(BEFORE, str(message))
    passes(reconciler)
    assert redis_client.lrange(BEFORE, 0, -1) == [message]
    assert messages(redis_client) == [waiting[1], waiting[0], waiting[1]]


def test_job_that_waits_again_is_sent_anew_when_it_is_released(
    narrow: JobTable,
    dispatcher: Dispatcher,
    control: QueueControl,
    redis_client: redis.Redis,
    reconciler: Reconciler,
    waiting: list[str],
) -> None:
    control.pause(QUEUE)
    assert narrow.claim(waiting[0], owner="a worker")[0] is None
    assert line(redis_client) == [waiting[1]]
    (message,) = [each for each in redis_client.lrange(BEHIND, 0, -1) if waiting[1] in str(each)]
    redis_client.rpush(BEHIND, *(str(message).replace(waiting[1], f"gone-{number}") for number in range(20)))
    passes(reconciler)
    assert messages(redis_client) == [waiting[1]]
    control.resume(QUEUE)
    let_look_be_due(redis_client, *waiting[:2])
    reconciler.run_once()
    assert messages(redis_client) == line(redis_client) == [waiting[1], waiting[0]]


def test_messages_of_released_jobs_hide_none_behind_them(
    redis_client: redis.Redis, reconciler: Reconciler, waiting: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.broker.stale._MOST_AT_A_TIME", 1)
    message = str(redis_client.lindex(BEHIND, 0))
    redis_client.lpush(BEHIND, *(message.replace(waiting[1], f"gone-{number}") for number in range(20)))
    assert sum(passes(reconciler)) == 20 - LEFT
    assert messages(redis_client)[:2] == line(redis_client) == waiting[:2]


STRANGE: list[bytes | str] = [
    b"\xff\xfe",
    b"[" * 10_000,
    b"7",
    json.dumps({"headers": None}),
    json.dumps({"headers": {"id": "gone"}}),
    json.dumps({"headers": {"id": "gone", "task": names.GENERATE_TASK}}),
    json.dumps({"headers": {"id": 7, "task": names.RUN_TASK}}),
]


def test_what_is_no_message_of_ours_is_left_alone_and_not_looked_at_in_each_pass(
    redis_client: redis.Redis, reconciler: Reconciler, waiting: list[str]
) -> None:
    redis_client.rpush(BEHIND, *STRANGE, *STRANGE)
    before = redis_client.info("commandstats").get("cmdstat_lrange", {}).get("calls", 0)
    for _ in range(3):
        assert reconciler.run_once() == Reconciled()
    assert redis_client.llen(BEHIND) == 2 + 2 * len(STRANGE)
    assert redis_client.info("commandstats")["cmdstat_lrange"]["calls"] == before + 1
