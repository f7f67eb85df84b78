"""Emptying a queue of messages that are no jobs yet, whatever they look like, and however full Redis is."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis
from celery import Celery
from celery.result import AsyncResult

from jobs import names
from jobs.announce.notifier import Notifier
from jobs.announce.revoking import Revoking
from jobs.errors import JobNotFound
from jobs.fleet.lists import list_of
from jobs.process.settings import Settings
from jobs.table.claim import Claim, Verdict
from jobs.table.inbox import Inbox
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.full_redis import filled
from tests.integration.workers.outside import FIELDS, QUEUE, call, message
from workers.attempt.context import Context
from workers.delivery.adoption import Adoption


@pytest.fixture
def offered() -> list[str]:
    """Ids of jobs whose messages were to be sent."""
    return []


@pytest.fixture
def control(context: Context, redis_client: redis.Redis, settings: Settings, offered: list[str]) -> QueueControl:
    revoking = Revoking(context.table, offered.extend, settings)
    return QueueControl(redis_client, context.table, offered.extend, settings, revoking)


def of_protocol_1(job_id: str) -> dict[str, Any]:
    return {"id": job_id, "task": names.GENERATE_TASK, "args": [], "kwargs": FIELDS}


def plain(job_id: str) -> bytes:
    """Its body as it is, and not in base64."""
    envelope = json.loads(message(of_protocol_1(job_id), {}))
    envelope["body"] = json.dumps(of_protocol_1(job_id))
    del envelope["properties"]["body_encoding"]
    return json.dumps(envelope).encode()


WAYS: dict[str, Callable[[str], bytes]] = {
    "protocol-1": lambda job_id: message(of_protocol_1(job_id), {}),
    "protocol-1-plain": plain,
    "protocol-1-packed": lambda job_id: message(
        of_protocol_1(job_id), {"compression": "application/x-gzip"}, pack=zlib.compress
    ),
    "protocol-2": call,
    "protocol-2-by-correlation": lambda job_id: message(
        [[], FIELDS, {}], {"task": names.GENERATE_TASK}, correlation_id=job_id
    ),
    "pickle": lambda job_id: call(job_id).replace(b"application/json", b"application/x-python-serialize"),
    "wrong": lambda job_id: message([[], {"n": 0}, {}], {"task": names.GENERATE_TASK, "id": job_id}),
}


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_message_goes_however_it_names_its_id_and_its_sender_is_told(
    control: QueueControl,
    notifier: Notifier,
    sender: Celery,
    raw_client: redis.Redis,
    redis_client: redis.Redis,
    way: str,
    is_full: bool,
) -> None:
    raw_client.lpush(list_of(QUEUE, 3), WAYS[way]("a-job"))
    with filled(redis_client, 0.9 if is_full else 0.1):
        assert control.cancel_all(QUEUE) == 1
        notifier.run_once()
    assert AsyncResult("a-job", app=sender).state == "REVOKED"  # type: ignore[comparison-overlap]
    assert redis_client.exists(names.HELD, names.tombstone_key("a-job"), list_of(QUEUE, 3)) == 0
    assert control.cancel_all(QUEUE) == 0


def test_message_that_names_nobody_goes(control: QueueControl, raw_client: redis.Redis) -> None:
    raw_client.lpush(QUEUE, b"no message", b"\xff")
    assert control.cancel_all(QUEUE) == 0
    assert raw_client.exists(QUEUE, names.HELD) == 0


def test_redis_that_messages_have_filled_is_emptier_afterwards(
    control: QueueControl, notifier: Notifier, sender: Celery, raw_client: redis.Redis, redis_client: redis.Redis
) -> None:
    ids = [f"job-{number}" for number in range(1000)]
    raw_client.lpush(QUEUE, *[call(each, stamps={"some": "x" * 500}) for each in ids])
    before = redis_client.info("memory")["used_memory_dataset"]
    with filled(redis_client, 0.9):
        assert control.cancel_all(QUEUE) == 1000
    assert raw_client.exists(QUEUE, names.HELD) == 0
    assert redis_client.info("memory")["used_memory_dataset"] < before
    assert {AsyncResult(each, app=sender).state for each in ids[::100]} == {"REVOKED"}


def test_sender_that_cannot_be_told_at_once_is_told_later(
    control: QueueControl, notifier: Notifier, sender: Celery, raw_client: redis.Redis, redis_client: redis.Redis
) -> None:
    raw_client.lpush(QUEUE, call("a-job"))
    with filled(redis_client, 1.2):  # Nothing can be written, results among it.
        assert control.cancel_all(QUEUE) == 1
    assert raw_client.exists(QUEUE, names.HELD) == 0
    notifier.run_once()
    assert AsyncResult("a-job", app=sender).state == "REVOKED"  # type: ignore[comparison-overlap]


def running(context: Context, adoption: Adoption, client: redis.Redis) -> Claim:
    """That of a job of which another message is to come."""
    client.lpush(QUEUE, call("a-job"))
    adoption.run_once()
    claim, _ = context.table.claim("a-job", owner="a worker", gives_way=True)
    assert claim is not None
    return claim


def test_second_message_of_a_job_that_runs_does_not_end_it(
    control: QueueControl, context: Context, adoption: Adoption, raw_client: redis.Redis
) -> None:
    claim = running(context, adoption, raw_client)
    raw_client.lpush(QUEUE, call("a-job"))
    assert control.cancel_all(QUEUE) == 0
    assert context.table.renew([claim]) == [Verdict.GO]
    assert raw_client.exists(QUEUE, names.HELD, names.tombstone_key("a-job")) == 0


def test_second_message_in_hand_of_a_job_that_runs_does_not_end_it(
    control: QueueControl, context: Context, adoption: Adoption, raw_client: redis.Redis, settings: Settings
) -> None:
    claim = running(context, adoption, raw_client)
    raw_client.lpush(QUEUE, call("a-job"))
    Inbox(raw_client, settings, [QUEUE]).take(10)
    assert control.cancel_all(QUEUE) == 0
    assert context.table.renew([claim]) == [Verdict.GO]
    assert raw_client.exists(names.tombstone_key("a-job")) == 0


def test_what_a_message_s_job_releases_by_its_end_is_offered(
    context: Context,
    raw_client: redis.Redis,
    redis_client: redis.Redis,
    settings: Settings,
    offered: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = JobTable(redis_client, settings.model_copy(update={"release_window": 1}))
    inbox = Inbox(raw_client, settings, [QUEUE])
    raw_client.lpush(QUEUE, call("first"), call("second"))
    Adoption(replace(context, table=table), inbox).run_once()
    raw_client.lpush(QUEUE, call("first"))
    inbox.take(10)
    monkeypatch.setattr(Inbox, "without_job", lambda _self, job_ids: list(job_ids))  # It became one right after that.
    assert Revoking(table, offered.extend, settings).revoke(QUEUE) == 1
    assert table.get("first").status is Status.CANCELED
    assert offered == ["second"]


def test_adoption_goes_on_slowly_while_messages_fill_redis(
    adoption: Adoption, context: Context, raw_client: redis.Redis, redis_client: redis.Redis
) -> None:
    ids = [f"job-{number}" for number in range(30)]
    raw_client.lpush(QUEUE, *map(call, ids))
    with filled(redis_client, 0.9):
        assert 0 < adoption.run_once() <= 10
        assert 0 < len(context.table.get_many(ids)) <= 10
    with filled(redis_client, 0.97):
        assert adoption.run_once() == 0


def test_nothing_is_lost_while_nothing_can_be_written(
    adoption: Adoption, context: Context, raw_client: redis.Redis, redis_client: redis.Redis
) -> None:
    raw_client.lpush(QUEUE, call("a-job"))
    with filled(redis_client, 1.2):
        assert adoption.run_once() == 0
        with pytest.raises(JobNotFound):
            context.table.get("a-job")
    assert adoption.run_once() == 1
    assert context.table.get("a-job").status is Status.QUEUED
