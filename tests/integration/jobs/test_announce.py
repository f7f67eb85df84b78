"""Every end of a job that came by plain Celery reaches its sender, whoever brings it about: on a real Redis."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import redis
from celery import Celery, chain, signature
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from jobs import names
from jobs.announce.celery import PROTOCOL
from jobs.announce.notifier import Notifier
from jobs.broker.reconcile import Reconciler
from jobs.errors import InvalidRequest
from jobs.table.outbox import Outbox
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import QUEUE, WANTS, claim, let_lease_run_out

MADE: list[dict[str, Any]] = [
    {"key": "a/0.png", "content_type": "image/png", "size_bytes": 1, "sha256": "0", "meta": {}},
]


def succeed(table: JobTable, job_id: str) -> str:
    table.finish(claim(table, job_id), Status.SUCCEEDED, artifacts=MADE)
    return "SUCCESS"


def fail(table: JobTable, job_id: str) -> str:
    table.finish(claim(table, job_id), Status.FAILED, error={"code": "generation_error", "message": "it broke"})
    return "FAILURE"


def cancel_waiting(table: JobTable, job_id: str) -> str:
    table.cancel(job_id)
    return "REVOKED"


def cancel_running(table: JobTable, job_id: str) -> str:
    held = claim(table, job_id)
    table.cancel(job_id)
    table.finish(held, Status.CANCELED)
    return "REVOKED"


def expire_running(table: JobTable, job_id: str) -> str:
    table.finish(claim(table, job_id), Status.EXPIRED)
    return "REVOKED"


ENDS = [succeed, fail, cancel_waiting, cancel_running, expire_running]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_result_is_told(
    sender: Celery, notifier: Notifier, table: JobTable, send: Callable[..., str], end: Callable[[JobTable, str], str]
) -> None:
    job_id = send()
    state = end(table, job_id)
    assert notifier.run_once() == 1
    result: Any = AsyncResult(job_id, app=sender)
    assert result.state == state
    if state == "SUCCESS":
        assert result.get(timeout=60)["status"] == "succeeded"
    elif state == "REVOKED":
        with pytest.raises(TaskRevokedError):
            result.get(timeout=60)
    else:
        with pytest.raises(Exception, match="it broke"):
            result.get(timeout=60)
    assert notifier.run_once() == 0


def test_ends_that_nobody_runs_are_told(
    sender: Celery,
    notifier: Notifier,
    table: JobTable,
    reconciler: Reconciler,
    redis_client: redis.Redis,
    send: Callable[..., str],
) -> None:
    late, lost = send(start_deadline=60), send()
    redis_client.hset(names.job_key(late), "start_by", 1)
    redis_client.zadd(names.DEADLINES, {late: 1})
    redis_client.hset(names.job_key(lost), "attempts", 3)
    claim(table, lost)
    let_lease_run_out(redis_client, lost)
    reconciler.run_once()
    assert notifier.run_once() == 2
    assert {job_id: str(AsyncResult(job_id, app=sender).state) for job_id in (late, lost)} == {
        late: "REVOKED",
        lost: "FAILURE",
    }


def test_refusal_is_told_and_again_to_who_sends_it_again(sender: Celery, notifier: Notifier, table: JobTable) -> None:
    job_id = str(uuid.uuid4())
    refusal = InvalidRequest("n", "must be at least 1")
    for _ in range(2):
        table.reject(job_id, request={"n": 0}, queue=QUEUE, error=refusal, notifications={PROTOCOL: WANTS})
        assert notifier.run_once() == 1
        result: Any = AsyncResult(job_id, app=sender)
        with pytest.raises(Exception, match="n: must be at least 1"):
            result.get(timeout=60)
        result.forget()


def test_replayed_job_is_told_anew(
    sender: Celery, notifier: Notifier, table: JobTable, control: QueueControl, send: Callable[..., str]
) -> None:
    job_id = send()
    fail(table, job_id)
    notifier.run_once()
    assert AsyncResult(job_id, app=sender).state == "FAILURE"
    control.replay(job_id)
    succeed(table, job_id)
    assert notifier.run_once() == 1
    assert AsyncResult(job_id, app=sender).state == "SUCCESS"


def sent_to(client: redis.Redis, queue: str) -> list[dict[str, Any]]:
    return [json.loads(each) for each in client.lrange(queue, 0, -1)]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_callbacks_go_where_celery_sends_them(
    sender: Celery,
    notifier: Notifier,
    table: JobTable,
    redis_client: redis.Redis,
    send: Callable[..., str],
    end: Callable[[JobTable, str], str],
) -> None:
    link = dict(signature("theirs.on_success", app=sender, options={"task_id": "linked"}))
    own = dict(signature("theirs.on_error", app=sender, options={"task_id": "errback", "queue": "theirs"}))
    job_id = send({"callbacks": [link], "errbacks": [own]})
    state = end(table, job_id)
    notifier.run_once()
    found = [(each["headers"]["task"], each["headers"]["id"]) for each in sent_to(redis_client, "celery")]
    errors = [(each["headers"]["task"], each["headers"]["id"]) for each in sent_to(redis_client, "theirs")]
    if state == "SUCCESS":
        assert (found, errors) == ([("theirs.on_success", "linked")], [])
    else:
        assert (found, errors) == ([], [("theirs.on_error", "errback")])


def test_next_of_a_chain_is_sent_and_a_failure_reaches_its_end(
    sender: Celery, notifier: Notifier, table: JobTable, redis_client: redis.Redis, send: Callable[..., str]
) -> None:
    steps = chain(signature("theirs.first", app=sender), signature("theirs.second", app=sender), app=sender)
    for end, state in ((succeed, "PENDING"), (fail, "FAILURE")):
        tasks, _ = steps.prepare_steps((), {}, list(steps.tasks), app=sender)
        job_id = send({"chain": [dict(each) for each in tasks]})
        end(table, job_id)
        notifier.run_once()
        assert AsyncResult(tasks[0].options["task_id"], app=sender).state == state
    assert [each["headers"]["task"] for each in sent_to(redis_client, "celery")] == ["theirs.first"]


def test_teller_that_dies_between_telling_and_noting_leaves_it_to_another(
    sender: Celery,
    notifier: Notifier,
    outbox: Outbox,
    table: JobTable,
    redis_client: redis.Redis,
    send: Callable[..., str],
) -> None:
    job_id = send()
    succeed(table, job_id)
    (taken,) = outbox.take(10)
    assert outbox.take(10) == []
    redis_client.zadd(names.outbox_key(PROTOCOL), {job_id: time.time() - 1})  # Its lease is over.
    assert notifier.run_once() == 1
    outbox.notified(taken)  # It was not dead after all.
    assert AsyncResult(job_id, app=sender).state == "SUCCESS"
    assert outbox.counts().waiting == 0


def test_what_cannot_be_told_is_tried_again_and_given_up_in_the_end(
    outbox: Outbox, table: JobTable, redis_client: redis.Redis, send: Callable[..., str]
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("nobody listens")

    refused = Notifier(outbox, PROTOCOL, refuse)
    other, job_id = send(), send()
    succeed(table, job_id)
    for tries in range(60):
        assert outbox.given_up() == [], tries
        redis_client.zadd(names.outbox_key(PROTOCOL), {job_id: 1})
        assert refused.run_once() == 1
        assert refused.run_once() == 0
    assert outbox.given_up() == [job_id]
    assert (outbox.counts().waiting, outbox.counts().given_up) == (0, 1)
    succeed(table, other)
    assert refused.run_once() == 1


def test_callback_that_cannot_be_sent_keeps_nobody_from_the_result(
    sender: Celery, notifier: Notifier, table: JobTable, redis_client: redis.Redis, send: Callable[..., str]
) -> None:
    link = dict(signature("theirs.on_success", app=sender, options={"task_id": "linked", "serializer": "unheard of"}))
    job_id = send({"callbacks": [link]})
    succeed(table, job_id)
    notifier.run_once()
    assert AsyncResult(job_id, app=sender).state == "SUCCESS"
    assert redis_client.zscore(names.outbox_key(PROTOCOL), job_id) is not None
