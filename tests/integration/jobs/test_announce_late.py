"""Tellers that are stalled, slow, or tell things twice: what they tell late changes nothing that others have told."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from celery import Celery, chain, chord, group, signature
from celery.app.task import Context
from celery.result import AsyncResult

from jobs import names
from jobs.announce.celery import PROTOCOL, CeleryResults, wanted_by
from jobs.announce.notifier import Notifier
from jobs.process.settings import Settings
from jobs.table.outbox import Outbox
from jobs.table.queues import QueueControl
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.hole import BlackHole
from tests.integration.jobs.steps import WANTS, claim

DEADLINE_S = 60.0
BROKE = {"code": "generation_error", "message": "it broke"}

Send = Callable[..., str]


def sent(client: redis.Redis) -> list[dict[str, Any]]:
    return [json.loads(each) for each in client.lrange("celery", 0, -1)]


def test_teller_that_is_stalled_tells_no_end_over_that_of_a_replay(
    sender: Celery,
    results: CeleryResults,
    notifier: Notifier,
    outbox: Outbox,
    table: JobTable,
    control: QueueControl,
    redis_client: redis.Redis,
    send: Send,
) -> None:
    job_id = send({"errbacks": [dict(signature("theirs.on_error", app=sender))]})
    table.finish(claim(table, job_id), Status.FAILED, error=BROKE)
    (stalled,) = outbox.take(1)
    control.replay(job_id)
    again = claim(table, job_id)
    results.notify_start(again.record, WANTS, "a worker")
    results.notify(stalled.record, stalled.wants)
    assert AsyncResult(job_id, app=sender).state == "STARTED"
    table.finish(again, Status.SUCCEEDED)
    assert notifier.run_once() == 1
    results.notify(stalled.record, stalled.wants)
    assert AsyncResult(job_id, app=sender).get(timeout=60)["status"] == "succeeded"
    assert sent(redis_client) == []


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELED, Status.SUCCEEDED])
def test_start_that_is_told_late_goes_over_no_end_of_its_run_or_of_a_later_one(
    sender: Celery, results: CeleryResults, notifier: Notifier, table: JobTable, send: Send, status: Status
) -> None:
    job_id = send()
    first = claim(table, job_id)
    table.give_back(first)
    second = claim(table, job_id)
    results.notify_start(second.record, WANTS, "another worker")
    results.notify_start(first.record, WANTS, "a worker")
    assert AsyncResult(job_id, app=sender).info == {"hostname": "another worker"}
    if status is Status.CANCELED:
        table.cancel(job_id)
    table.finish(second, status, error=BROKE if status is Status.FAILED else None)
    assert notifier.run_once() == 1
    state = AsyncResult(job_id, app=sender).state
    assert state in ("FAILURE", "REVOKED", "SUCCESS")
    for each in (first, second):
        results.notify_start(each.record, WANTS, "a worker")
    assert AsyncResult(job_id, app=sender).state == state


@pytest.mark.parametrize("state", ["FAILURE", "REVOKED", "SUCCESS"])
def test_start_goes_over_no_end_that_an_earlier_version_told(
    sender: Celery,
    results: CeleryResults,
    notifier: Notifier,
    table: JobTable,
    redis_client: redis.Redis,
    send: Send,
    state: str,
) -> None:
    job_id = send()
    earlier = json.dumps({"status": state, "result": {}, "traceback": None, "children": [], "task_id": job_id})
    redis_client.set(f"celery-task-meta-{job_id}", earlier)
    claimed = claim(table, job_id)
    results.notify_start(claimed.record, WANTS, "a worker")
    assert sender.backend.get_task_meta(job_id, cache=False)["status"] == state
    table.finish(claimed, Status.SUCCEEDED)
    assert notifier.run_once() == 1
    assert sender.backend.get_task_meta(job_id, cache=False)["status"] == "SUCCESS"


def test_whatever_a_late_result_finds_expires_as_before(
    results: CeleryResults, table: JobTable, redis_client: redis.Redis, send: Send
) -> None:
    job_id = send()
    claimed = claim(table, job_id)
    ended = table.finish(claimed, Status.SUCCEEDED)
    results.notify(ended, WANTS)
    before = redis_client.get(f"celery-task-meta-{job_id}")
    results.notify_start(claimed.record, WANTS, "a worker")
    assert redis_client.get(f"celery-task-meta-{job_id}") == before
    assert redis_client.ttl(f"celery-task-meta-{job_id}") > 3600


def callbacks_of(sender: Celery) -> list[Any]:
    def task(name: str) -> Any:
        return signature(f"theirs.{name}", app=sender)

    nested = chord([task("deep"), task("deeper")], task("join"), app=sender)
    return [
        chord([task("one"), task("two")], task("body"), app=sender),
        chord(group([task("one"), chain(task("two"), task("three"), app=sender)]), task("body"), app=sender),
        chord([task("one"), nested], chain(task("body"), task("after"), app=sender), app=sender),
        chain(task("one"), nested, task("two"), app=sender),
        group([task("one"), chain(nested, task("two"), app=sender)], app=sender),
        chain(group([task("one"), task("two")], app=sender), task("body"), app=sender),
    ]


@pytest.mark.parametrize("position", range(6))
def test_tasks_of_a_canvas_that_follows_have_the_same_ids_whenever_it_is_sent(
    sender: Celery, results: CeleryResults, table: JobTable, redis_client: redis.Redis, send: Send, position: int
) -> None:
    def ids(value: Any) -> list[Any]:
        """Of all tasks that a message says are to be called; Celery's groups in chains have others each time."""
        if isinstance(value, dict):
            own = [value["options"]["task_id"]] if value.get("task", "").startswith("theirs.") else []
            return own + [each for name in sorted(value) for each in ids(value[name])]
        return [each for one in value for each in ids(one)] if isinstance(value, list) else []

    link = json.loads(json.dumps(callbacks_of(sender)[position]))
    wants = wanted_by(Context(id="a-job", callbacks=[link], delivery_info={}))
    job_id = send(wants)
    ended = table.finish(claim(table, job_id), Status.SUCCEEDED)
    found = []
    for _ in range(2):
        results.notify(ended, json.loads(json.dumps(wants)))
        messages = sent(redis_client)
        found.append([(each["headers"]["id"], ids(json.loads(base64.b64decode(each["body"])))) for each in messages])
        redis_client.delete("celery")
    assert found[0] == found[1] != []


class Pigeon:
    """A protocol whose receiver hears at once."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def notify(self, record: JobRecord, _wants: Any) -> None:
        self.told.append(record.id)


def test_receiver_that_never_answers_holds_up_its_own_ends_alone(
    sender: Celery,
    settings: Settings,
    outbox: Outbox,
    notifier: Notifier,
    table: JobTable,
    redis_client: redis.Redis,
    send: Send,
) -> None:
    slow, other = send(), send()
    with BlackHole() as hole:
        lost = CeleryResults(settings.model_copy(update={"result_backend_url": hole.url}))
        table.finish(claim(table, slow), Status.SUCCEEDED)
        stuck = Notifier(outbox, PROTOCOL, lost.notify)
        stuck.start()
        try:
            assert hole.has_caught(DEADLINE_S)
            redis_client.zadd(names.outbox_key("pigeon"), {slow: 1})
            table.finish(claim(table, other), Status.SUCCEEDED)
            pigeon = Pigeon()
            assert Notifier(Outbox(redis_client, settings, "pigeon"), "pigeon", pigeon.notify).run_once() == 1
            assert pigeon.told == [slow]
            assert notifier.run_once() == 1
            assert AsyncResult(other, app=sender).state == "SUCCESS"
            assert outbox.counts().waiting == 1
        finally:
            hole.close()
            stuck.stop()
    assert outbox.counts().waiting == 1


def test_end_that_cannot_be_told_holds_up_those_behind_it_for_one_try(
    sender: Celery, results: CeleryResults, settings: Settings, outbox: Outbox, table: JobTable, send: Send
) -> None:
    slow, other = send(), send()
    table.finish(claim(table, slow), Status.SUCCEEDED)
    table.finish(claim(table, other), Status.SUCCEEDED)
    with BlackHole() as hole:
        lost = CeleryResults(settings.model_copy(update={"result_backend_url": hole.url}))

        def notify(record: JobRecord, wants: Any) -> None:
            (lost if record.id == slow else results).notify(record, wants)

        assert Notifier(outbox, PROTOCOL, notify).run_once() == 2
        lost.close()
    assert AsyncResult(other, app=sender).state == "SUCCESS"
    counts = outbox.counts()
    assert (counts.waiting, counts.put_off, counts.history) == (1, 1, {"later": 1, "told": 1})
