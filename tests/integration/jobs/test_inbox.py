"""Messages from outside, out of their lists and into jobs, with no moment at which one could get lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
import redis
import structlog

from jobs import names
from jobs.errors import InvalidRequest, JobNotFound
from jobs.fleet.lists import list_of
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.table.inbox import Held, Inbox
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.full_redis import filled
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
    (again,) = inbox.take(10)
    assert (again.raw, again.takings, before[0].takings) == (b"a", 2, 1)
    assert texts(inbox.take(10)) == [b"c"]


def test_message_is_dropped_or_passed_on_once(inbox: Inbox, redis_client: redis.Redis) -> None:
    push(redis_client, "a", "b\nc")
    first, second = inbox.take(10)
    for _ in range(2):
        inbox.drop(first)
        inbox.pass_on(second, "run.shapes-flow")
    assert redis_client.lrange("run.shapes-flow", 0, -1) == ["b\nc"]
    assert redis_client.hlen(names.HELD) == 0


def test_dropped_message_is_counted_as_refused_once(inbox: Inbox, redis_client: redis.Redis) -> None:
    push(redis_client, "a", "b", priority=3)
    first, second = inbox.take(10)
    for _ in range(2):
        inbox.drop(first)
    inbox.pass_on(second, "run.shapes-flow")
    assert redis_client.hgetall(names.figures_key(QUEUE)) == {"refused": "1"}


def let_holders_die(client: redis.Redis) -> None:
    tags = cast("list[str]", client.hkeys(names.HELD))
    client.zadd(names.HELD_UNTIL, dict.fromkeys(tags, 1))


def test_each_of_a_bunch_whose_holder_died_comes_alone_with_how_often_it_came(
    inbox: Inbox, redis_client: redis.Redis
) -> None:
    push(redis_client, "a", "b")
    inbox.take(10)
    for takings in (2, 3):
        let_holders_die(redis_client)
        found = [inbox.take(10) for _ in range(3)]
        assert [len(each) for each in found] == [1, 1, 0]
        assert sorted((each.raw, each.takings) for (each,) in found[:2]) == [(b"a", takings), (b"b", takings)]


def test_what_somebody_puts_back_who_lives_did_no_harm(inbox: Inbox, redis_client: redis.Redis) -> None:
    push(redis_client, "a", "b")
    first, second = inbox.take(10)
    inbox.drop(second)
    for _ in range(5):
        inbox.put_back([first, second])
        (again,) = inbox.take(10)
        assert (again.raw, again.takings) == (b"a", 2)
    assert redis_client.zcard(names.HELD_UNTIL) == 1


def test_message_whose_holder_died_is_for_those_who_serve_its_queue(
    inbox: Inbox, raw_client: redis.Redis, settings: Settings, redis_client: redis.Redis
) -> None:
    narrow = Inbox(raw_client, settings, [QUEUE])
    push(redis_client, *("other",) * 150, queue=OTHER, priority=3)
    push(redis_client, "own")
    assert len(inbox.take(200)) == 151
    let_holders_die(redis_client)
    assert texts(narrow.take(10)) == [b"own"]
    assert narrow.take(10) == []
    assert texts(inbox.take(10)) == [b"other"]


def test_list_that_is_filled_as_fast_as_it_is_emptied_holds_none_of_the_others_up(
    inbox: Inbox, redis_client: redis.Redis
) -> None:
    push(redis_client, *("flood",) * 500)
    push(redis_client, "lone", priority=5)
    push(redis_client, "lone", queue=OTHER)
    found = inbox.take(100)
    assert len(found) == 100
    assert texts(found).count(b"lone") == 2


def test_rest_of_a_bunch_goes_to_each_queue_in_turn_and_to_its_first_priority(
    inbox: Inbox, redis_client: redis.Redis
) -> None:
    for queue in (QUEUE, OTHER):
        push(redis_client, *(f"{queue} first",) * 300, queue=queue)
        push(redis_client, *(f"{queue} later",) * 300, queue=queue, priority=9)
    found = [texts(inbox.take(100)) for _ in range(2)]
    assert [each.count(f"{QUEUE} first".encode()) > 50 for each in found] == [True, False]
    assert [each.count(f"{OTHER} first".encode()) > 50 for each in found] == [False, True]
    assert all(each.count(f"{queue} later".encode()) > 0 for each in found for queue in (QUEUE, OTHER))


def test_key_that_is_no_list_is_passed_over_and_said(inbox: Inbox, redis_client: redis.Redis) -> None:
    push(redis_client, "a")
    push(redis_client, "b", priority=9)
    push(redis_client, "c", queue=OTHER)
    redis_client.set(list_of(QUEUE, 3), "no list")
    with structlog.testing.capture_logs() as logs:
        assert sorted(texts(inbox.take(10))) == [b"a", b"b", b"c"]
        inbox.take(10)
        inbox.take(10)
    assert [each["key"] for each in logs] == [list_of(QUEUE, 3)]
    assert redis_client.zcard(names.HELD_UNTIL) == redis_client.hlen(names.HELD) == 3


def test_few_are_taken_while_redis_is_full_and_none_when_it_is_nearly_at_its_end(
    inbox: Inbox, redis_client: redis.Redis
) -> None:
    push(redis_client, *"abcdefghijklmnopqrstuvwxyz")
    with filled(redis_client, 0.98):
        assert inbox.take(100) == []
    with filled(redis_client, 0.9):
        assert 0 < len(inbox.take(100)) <= 10
    assert len(inbox.take(100)) >= 16


def test_all_are_taken_by_somebody_who_makes_room(inbox: Inbox, redis_client: redis.Redis) -> None:
    push(redis_client, *"abcdefghijklmnopqrstuvwxyz")
    with filled(redis_client, 1.2):
        assert len(inbox.take(100, even_if_full=True)) == 26


@pytest.mark.parametrize(("queue", "line"), [("gpu.any.x", "run.any.x"), ("any.x", "runs.x")])
def test_line_of_a_queue_is_that_of_no_other(queue: str, line: str) -> None:
    assert names.line_of(queue) == line
    with pytest.raises(ValueError, match="no queue of jobs"):
        names.line_of(line)
