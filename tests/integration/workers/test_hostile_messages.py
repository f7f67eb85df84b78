"""Messages that would do harm to whoever reads them, or could never be told of: a real Redis."""

from __future__ import annotations

import bz2
import lzma
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any, cast

import pytest
import redis
from celery import Celery, chain, chord, group

from jobs import names
from jobs.announce.notifier import Notifier
from jobs.broker.messages import UnreadableMessage, read
from jobs.errors import ErrorCode, RedisFull
from jobs.process.settings import Settings
from jobs.table.inbox import Inbox
from jobs.table.states import Status
from tests.integration.workers.outside import FIELDS, QUEUE, call, message, refusal
from workers.attempt.context import Context
from workers.delivery import adoption as adopting
from workers.delivery.adoption import Adoption

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "application/x-gzip": zlib.compress,
    "application/x-bz2": bz2.compress,
    "application/x-lzma": lzma.compress,
}


def packed(way: str, body: Any, pack: Callable[[bytes], bytes]) -> bytes:
    headers = {"id": "packed", "task": names.GENERATE_TASK, "compression": way}
    return message(body, headers, pack=pack)


@pytest.mark.parametrize("way", PACKED)
def test_packed_body_is_read(adoption: Adoption, context: Context, raw_client: redis.Redis, way: str) -> None:
    raw_client.lpush(QUEUE, packed(way, [[], FIELDS, {}], PACKED[way]))
    adoption.run_once()
    assert context.table.get("packed").status is Status.QUEUED


@pytest.mark.parametrize("way", PACKED)
def test_body_that_unpacks_to_far_more_is_refused_and_never_unpacked(
    adoption: Adoption, notifier: Notifier, sender: Celery, raw_client: redis.Redis, way: str
) -> None:
    raw_client.lpush(QUEUE, packed(way, b" " * (64 << 20), PACKED[way]))
    tracemalloc.start()
    try:
        assert "body: unpacks to more than 4 MiB" in refusal(adoption, notifier, sender, "packed")
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("way", "body", "sentence"),
    [
        ("application/zstd", b"x", "compression: is 'application/zstd'; only gzip"),
        ("zlib", zlib.compress(b"[]")[:-3], "body: is incomplete"),
        ("zlib", b"not packed at all", "body: cannot be decoded"),
    ],
)
def test_body_that_cannot_be_unpacked_is_refused(
    adoption: Adoption,
    notifier: Notifier,
    sender: Celery,
    raw_client: redis.Redis,
    way: str,
    body: bytes,
    sentence: str,
) -> None:
    raw_client.lpush(QUEUE, packed(way, body, bytes))
    assert sentence in refusal(adoption, notifier, sender, "packed")


def test_message_that_is_too_large_is_refused_under_the_id_at_its_end(
    adoption: Adoption, notifier: Notifier, sender: Celery, raw_client: redis.Redis
) -> None:
    raw_client.lpush(QUEUE, message(b" " * (4 << 20), {"id": "large", "task": names.GENERATE_TASK, "root_id": "other"}))
    assert "message: has more than 4 MiB" in refusal(adoption, notifier, sender, "large")


def test_message_that_kills_its_readers_is_refused_unread_and_its_neighbours_become_jobs(
    adoption: Adoption,
    context: Context,
    notifier: Notifier,
    sender: Celery,
    raw_client: redis.Redis,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die_of(raw: bytes, queue: str) -> Any:
        if b'"deadly"' in raw:
            raise KeyboardInterrupt
        return read(raw, queue)

    monkeypatch.setattr(adopting, "read", die_of)
    neighbours = [f"job-{number}" for number in range(10)]
    raw_client.lpush(QUEUE, *map(call, [*neighbours[:5], "deadly", *neighbours[5:]]))
    deaths = 0
    while raw_client.hlen(names.HELD) or not deaths:
        worker = Adoption(context, Inbox(raw_client, settings, [QUEUE]))
        try:
            while worker.run_once():
                pass
        except KeyboardInterrupt:
            deaths += 1
        for tag in cast("list[bytes]", raw_client.hkeys(names.HELD)):
            raw_client.zadd(names.HELD_UNTIL, {tag: 1})
    assert deaths == settings.max_attempts
    assert {each.status for each in context.table.get_many(neighbours)} == {Status.QUEUED}
    assert len(context.table.get_many(neighbours)) == 10
    error = context.table.get("deadly").error
    assert error is not None
    assert error.code == ErrorCode.WORKER_LOST
    assert "3 workers died while they read it" in refusal(adoption, notifier, sender, "deadly")


def test_redis_that_fills_up_amid_a_bunch_keeps_no_neighbour_waiting_and_loses_nothing(
    context: Context,
    raw_client: redis.Redis,
    redis_client: redis.Redis,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inbox = Inbox(raw_client, settings, [QUEUE])
    adoption = Adoption(context, inbox)
    ids = [f"job-{number}" for number in range(100)]
    raw_client.lpush(QUEUE, *map(call, ids))
    passed_on: list[str] = []
    monkeypatch.setattr(Context, "pass_on", lambda _self, released: passed_on.extend(released))
    taken = inbox.take(100)
    monkeypatch.setattr(inbox, "take", lambda _most: taken)
    room = raw_client.info("memory")["used_memory"]
    try:
        while not context.table.get_many(ids):  # Until there is room for the first of them, and for few more.
            room += 20 << 10
            raw_client.config_set("maxmemory", room)
            with pytest.raises(RedisFull):
                adoption.run_once()
    finally:
        raw_client.config_set("maxmemory", 0)
    written = context.table.get_many(ids)
    assert 0 < len(written) < 100
    assert len(written) + raw_client.hlen(names.HELD) == 100
    assert passed_on
    assert sorted(passed_on) == sorted(cast("list[str]", redis_client.zrange(names.line_key(QUEUE), 0, -1)))
    monkeypatch.undo()
    while adoption.run_once():
        pass
    assert len(context.table.get_many(ids)) == 100


MALFORMED: list[Any] = [
    {"task": "t"},
    {"task": "t", "args": [], "kwargs": {}},
    {"task": "t", "args": [], "kwargs": {}, "options": {"queue": 3}},
    {"task": "t", "args": [], "kwargs": {}, "options": {}, "subtask_type": "nonsense"},
    {"task": "celery.group", "args": [], "kwargs": {"tasks": []}, "options": {}},
    {"task": "celery.group", "args": [], "kwargs": {"tasks": 3}, "options": {}, "subtask_type": "group"},
    {"task": "celery.chain", "args": [], "kwargs": {"tasks": [{"task": "t"}]}, "options": {}, "subtask_type": "chain"},
    {"task": "celery.chord", "args": [], "kwargs": {"header": []}, "options": {}, "subtask_type": "chord"},
    {"task": "celery.chunks", "args": [], "kwargs": {}, "options": {}, "subtask_type": "chunks"},
]


@pytest.mark.parametrize("end", ["callbacks", "errbacks", "chain", "chord"])
@pytest.mark.parametrize("malformed", MALFORMED)
def test_what_is_to_follow_and_could_never_be_sent_is_refused_at_once(
    adoption: Adoption, notifier: Notifier, sender: Celery, raw_client: redis.Redis, end: str, malformed: Any
) -> None:
    parts: dict[str, Any] = {end: malformed if end == "chord" else [malformed]}
    raw_client.lpush(QUEUE, call("a-job", **parts))
    assert f"{end}: is not the signature of a task" in refusal(adoption, notifier, sender, "a-job")


def test_what_celery_itself_writes_to_follow_is_taken(
    adoption: Adoption, context: Context, sender: Celery, raw_client: redis.Redis
) -> None:
    one, two = sender.signature("theirs.one"), sender.signature("theirs.two", (1,), {"a": 2}, queue="theirs")
    canvases = [one, group([one, two], app=sender), chain(one, two, app=sender), chord([one, two], one, app=sender)]
    for number, each in enumerate(canvases):
        options: dict[str, Any] = {"task_id": f"job-{number}", "link": each, "link_error": [one, each]}
        sender.send_task(names.GENERATE_TASK, kwargs=FIELDS, queue=QUEUE, **options)
        adoption.run_once()
        assert context.table.get(f"job-{number}").status is Status.QUEUED


def test_unreadable_message_says_what_is_wrong_by_name() -> None:
    with pytest.raises(UnreadableMessage) as caught:
        read(b"no message", QUEUE)
    assert caught.value.field == "message"
