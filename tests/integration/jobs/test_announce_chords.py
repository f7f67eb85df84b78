"""Chords whose parts are jobs: the body is sent, or fails, though a notifier is killed at any moment in between."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from celery import Celery, chain, chord, signature
from celery.app.task import Context
from celery.backends.redis import RedisBackend
from celery.result import AsyncResult

from jobs.announce.celery import wanted_by
from jobs.announce.notifier import Notifier
from jobs.table.outbox import Outbox
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import claim

Send = Callable[..., str]

PARTS = 3
BROKE = {"code": "generation_error", "message": "it broke"}


def sent(client: redis.Redis) -> list[tuple[dict[str, Any], Any]]:
    """Head and body of each task that was sent where Celery sends what names no queue; the first one first."""
    found = [json.loads(each) for each in reversed(client.lrange("celery", 0, -1))]
    return [(each["headers"], json.loads(base64.b64decode(each["body"]))) for each in found]


def send_chord(sender: Celery, client: redis.Redis, part: Any) -> tuple[AsyncResult[Any], list[dict[str, Any]]]:
    """Returns the body's result, and what each of the parts' messages says of itself."""
    body: Any = chord([part] * PARTS, signature("theirs.body", app=sender), app=sender).apply_async()
    requests = [Context({**head, **embedded, "delivery_info": {}}) for head, (_, _, embedded) in sent(client)]
    client.delete("celery")
    return body, [wanted_by(each) or {} for each in requests]


def end_all(table: JobTable, job_ids: list[str], status: Status) -> None:
    for job_id in job_ids:
        table.finish(claim(table, job_id), status, error=BROKE if status is Status.FAILED else None)


def test_part_is_told_again_until_the_body_is_sent(
    sender: Celery, notifier: Notifier, table: JobTable, outbox: Outbox, redis_client: redis.Redis, send: Send
) -> None:
    """Another process had all parts, said that it sends the body, and was killed before it did."""
    body, wants = send_chord(sender, redis_client, signature("theirs.job", app=sender))
    job_ids = [send(each) for each in wants]
    said = f"celery-taskset-meta-{wants[0]['group']}.c"
    redis_client.set(said, "its token")
    end_all(table, job_ids, Status.SUCCEEDED)
    assert notifier.run_once() == PARTS
    assert (sent(redis_client), outbox.counts().waiting) == ([], 1)

    redis_client.delete(said)  # as it runs out
    outbox.retry(job_ids)
    assert notifier.run_once() == 1
    ((head, (args, _, _)),) = sent(redis_client)
    assert head["id"] == body.id
    assert [each["id"] for each in args[0]] == job_ids
    assert outbox.counts().waiting == 0


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELED])
def test_chain_that_fails_returns_to_its_chord_though_it_was_interrupted(
    sender: Celery,
    notifier: Notifier,
    table: JobTable,
    outbox: Outbox,
    redis_client: redis.Redis,
    send: Send,
    monkeypatch: pytest.MonkeyPatch,
    status: Status,
) -> None:
    """A process was killed when it had noted the failure of what follows in the chain, not that the part is over."""
    part = chain(signature("theirs.job", app=sender), signature("theirs.next", app=sender), app=sender)
    body, wants = send_chord(sender, redis_client, part)
    job_ids = [send(each) for each in wants]
    with monkeypatch.context() as patch:
        patch.setattr(RedisBackend, "on_chord_part_return", _interrupt)
        end_all(table, job_ids, status)
        assert notifier.run_once() == PARTS
    assert (outbox.counts().waiting, body.state) == (PARTS, "PENDING")

    outbox.retry(job_ids)
    assert notifier.run_once() == PARTS
    assert outbox.counts().waiting == 0
    assert sender.AsyncResult(body.id).state == "FAILURE"


def _interrupt(*_args: Any, **_options: Any) -> None:
    raise ConnectionError
