"""A backend of results that swallows all that it is told costs its senders their results, and nobody a job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from celery import Celery
from celery.result import AsyncResult

from jobs import names
from jobs.announce.announcer import Announcer
from jobs.announce.celery import PROTOCOL, CeleryResults
from jobs.announce.notifier import Notifier
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.table.inbox import Inbox
from jobs.table.outbox import Outbox
from jobs.table.states import Status
from jobs.view import spec_to_run
from tests.hole import BlackHole
from workers.attempt.attempt import Attempt
from workers.attempt.context import Context
from workers.delivery.adoption import Adoption

QUEUE = "gpu.sim"
FIELDS: dict[str, Any] = {"prompt": "a red circle", "seed": 7}
DEADLINE_S = 60.0


@pytest.fixture
def hole() -> Iterator[BlackHole]:
    with BlackHole() as hole:
        yield hole


@pytest.fixture
def worker(context: Context, redis_client: redis.Redis, settings: Settings, hole: BlackHole) -> Context:
    swallowed = settings.model_copy(update={"result_backend_url": hole.url})
    return replace(context, announcer=Announcer(redis_client, swallowed))


@pytest.fixture
def adoption(worker: Context, settings: Settings) -> Iterator[Adoption]:
    with connect(settings, decodes=False) as client:
        yield Adoption(worker, Inbox(client, settings, [QUEUE]))


def send(sender: Celery, **options: Any) -> str:
    return str(sender.send_task(names.GENERATE_TASK, kwargs=FIELDS, queue=QUEUE, **options).id)


def run(worker: Context, job_id: str) -> Status | str:
    claim, _ = worker.table.claim(job_id, owner=worker.name, read=spec_to_run)
    assert claim is not None
    worker.announcer.note_start(claim, worker.name)
    return Attempt(claim, worker).run().status


def test_neither_a_job_nor_adoption_asks_it_for_anything(
    worker: Context, adoption: Adoption, sender: Celery, hole: BlackHole, redis_client: redis.Redis
) -> None:
    """Nobody else does so far: whoever tells has not begun."""
    send(sender, task_id="my picture")
    job_id = send(sender)
    assert adoption.run_once() == 2
    assert run(worker, job_id) is Status.SUCCEEDED
    assert not hole.has_caught()
    worker.announcer.start()
    try:
        assert hole.has_caught(DEADLINE_S)
        other = send(sender)
        assert adoption.run_once() == 1
        assert run(worker, other) is Status.SUCCEEDED
    finally:
        hole.close()
        worker.announcer.stop()
    assert [redis_client.hget(names.job_key(each), "deliveries") for each in (job_id, other)] == ["1", "1"]
    assert redis_client.zcard(names.outbox_key(PROTOCOL)) == 3


def test_refusal_of_an_id_that_is_no_job_s_is_told_when_it_is_back(
    adoption: Adoption, sender: Celery, settings: Settings, redis_client: redis.Redis, hole: BlackHole
) -> None:
    outbox = Outbox(redis_client, settings, PROTOCOL)
    for task_id in ("my picture", "a" * 200):
        send(sender, task_id=task_id)
    assert adoption.run_once() == 2
    swallowed = settings.model_copy(update={"result_backend_url": hole.url})
    assert Notifier(outbox, PROTOCOL, CeleryResults(swallowed).notify).run_once() == 2
    assert outbox.counts().put_off == 2
    outbox.retry([names.job_id_of(task_id) for task_id in ("my picture", "a" * 200)])
    results = CeleryResults(settings)
    assert Notifier(outbox, PROTOCOL, results.notify).run_once() == 2
    results.close()
    for task_id in ("my picture", "a" * 200):
        result: Any = AsyncResult(task_id, app=sender)
        with pytest.raises(Exception, match="id: use letters"):
            result.get(timeout=60)
    assert outbox.counts().waiting == 0
