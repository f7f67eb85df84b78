"""Messages from outside, out of their lists and into jobs, with no moment at which one could get lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from jobs import names
from jobs.errors import InvalidRequest, JobNotFound
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.table.inbox import Held, Inbox, list_of
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import QUEUE, MakeJob
from tests.integration.jobs.twice import RepeatingRedis

OTHER = "gpu.other"


@pytest.fixture(params=[False, True], ids=["once", "repeated"])
def raw_client(request: pytest.FixtureRequest, settings: Settings) -> Iterator[redis.Redis]:
    if request.param:
        with RepeatingRedis.from_url(settings.redis_url) as client:
            yield client
    else:
        with connect(settings, decodes=False) as client:
            yield client


@pytest.fixture
def inbox(raw_client: redis.Redis, settings: Settings) -> Inbox:
    return Inbox(raw_client, settings, [QUEUE, OTHER])


def push(client: redis.Redis, *messages: str | bytes, queue: str = QUEUE, priority: int = 0) -> None:
    for each in messages:
        client.lpush(list_of(queue, priority), each)


def texts(found: list[Held]) -> list[bytes]:
    return [each.raw for each in found]


def test_messages_of_every_priority_are_taken_the_oldest_first(inbox: Inbox, redis_client: redis.Redis) -> None:
    for priority in range(10):
        push(redis_client, f"{priority} first", f"{priority} second", priority=priority)
    push(redis_client, "other", queue=OTHER)
    found = inbox.take(100)
    assert texts(found) == [
        *(f"{priority} {which}".encode() for priority in range(10) for which in ("first", "second")),
        b"other",
    ]
    assert [each.queue for each in found] == [QUEUE] * 20 + [OTHER]
    assert inbox.take(100) == []


def test_no_more_are_taken_than_asked_for(inbox: Inbox, redis_client: redis.Redis) -> None:
    push(redis_client, "a", "b", "c")
    assert texts(inbox.take(2)) == [b"a", b"b"]
    assert texts(inbox.take(2)) == [b"c"]


def test_message_may_be_anything(inbox: Inbox, redis_client: redis.Redis) -> None:
    odd = [b"", b"\n\n", b"\xff\x00\xfe", "ümläut 🙂".encode()]
    push(redis_client, *odd)
    assert texts(inbox.take(10)) == odd


def test_message_is_let_go_by_the_script_that_writes_its_job(
    inbox: Inbox, table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    push(redis_client, "a", "b")
    first, second = inbox.take(10)
    job = a_job(tag=first.tag)
    table.submit(job)
    table.reject("refused", request={}, queue=QUEUE, error=InvalidRequest("n", "is wrong"), tag=second.tag)
    assert table.get(job.job_id).id == job.job_id
    assert (redis_client.hlen(names.HELD), redis_client.zcard(names.HELD_UNTIL)) == (0, 0)


def test_message_that_was_canceled_before_it_came_ends_as_it_comes(
    inbox: Inbox, table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    push(redis_client, "a")
    (held,) = inbox.take(10)
    job = a_job(tag=held.tag)
    with pytest.raises(JobNotFound):
        table.cancel(job.job_id, remembers=True)
    assert table.submit(job).released == []
    assert table.get(job.job_id).status is Status.CANCELED
    assert not redis_client.exists(names.tombstone_key(job.job_id))


def test_message_whose_holder_died_is_handed_out_again(inbox: Inbox, redis_client: redis.Redis) -> None:
    push(redis_client, "a", "b")
    before = inbox.take(10)
    redis_client.zadd(names.HELD_UNTIL, {before[0].tag: 1})
    push(redis_client, "c")
    assert texts(inbox.take(10)) == [b"a", b"c"]


def test_message_is_dropped_or_passed_on_once(inbox: Inbox, redis_client: redis.Redis) -> None:
    push(redis_client, "a", "b\nc")
    first, second = inbox.take(10)
    for _ in range(2):
        inbox.drop(first)
        inbox.pass_on(second, "run.shapes")
    assert redis_client.lrange("run.shapes", 0, -1) == ["b\nc"]
    assert redis_client.hlen(names.HELD) == 0


def test_dropped_message_is_counted_as_refused_once(inbox: Inbox, redis_client: redis.Redis) -> None:
    push(redis_client, "a", "b", priority=3)
    first, second = inbox.take(10)
    for _ in range(2):
        inbox.drop(first)
    inbox.pass_on(second, "run.shapes")
    assert redis_client.hgetall(names.figures_key(QUEUE)) == {"refused": "1"}


def test_nothing_is_taken_while_redis_is_full(inbox: Inbox, redis_client: redis.Redis) -> None:
    push(redis_client, "a")
    redis_client.config_set("maxmemory", int(redis_client.info("memory")["used_memory"] / 0.9))
    try:
        assert inbox.take(10) == []
    finally:
        redis_client.config_set("maxmemory", 0)
    assert texts(inbox.take(10)) == [b"a"]


@pytest.mark.parametrize(("queue", "line"), [("gpu.any.x", "run.any.x"), ("any.x", "runs.x")])
def test_line_of_a_queue_is_that_of_no_other(queue: str, line: str) -> None:
    assert names.line_of(queue) == line
    with pytest.raises(ValueError, match="no queue of jobs"):
        names.line_of(line)
