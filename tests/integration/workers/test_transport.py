"""What kombu keeps in Redis of messages that a worker has and has not acknowledged, on a real server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Consumer, Queue

from jobs.announce.backends import RESULT_BACKENDS
from jobs.broker.app import make_app
from jobs.names import RUN_TASK
from jobs.process.settings import Settings
from workers.delivery.transport import TolerantTransport

QUEUE = "gpu.shapes-flow"
DEADLINE_S = 60.0


@pytest.fixture
def app(settings: Settings) -> Celery:
    return make_app(settings)


@pytest.fixture
def connection(settings: Settings) -> Iterator[Connection]:
    with Connection(settings.redis_url, transport=TolerantTransport) as connection:
        yield connection


def receive(connection: Connection) -> Any:
    """The next message, not acknowledged."""
    got: list[Any] = []
    with Consumer(connection, [Queue(QUEUE)], callbacks=[lambda _body, message: got.append(message)]):
        connection.drain_events(timeout=DEADLINE_S)
    return got[0]


@pytest.fixture
def send(app: Celery, redis_client: redis.Redis) -> Any:
    def send_one(task: str) -> str:
        task_id = str(uuid.uuid4())
        app.send_task(task, task_id=task_id, queue=QUEUE, priority=0)
        assert redis_client.llen(QUEUE) == 1
        return task_id

    return send_one


def test_a_message_of_the_job_table_is_kept_nowhere_else(
    connection: Connection, redis_client: redis.Redis, send: Any
) -> None:
    send(RUN_TASK)
    message = receive(connection)
    assert not redis_client.exists("unacked", "unacked_index")
    message.ack()
    assert not redis_client.exists("unacked", "unacked_index", QUEUE)


def test_what_is_not_acknowledged_goes_back_when_the_worker_leaves(
    settings: Settings, connection: Connection, redis_client: redis.Redis, send: Any
) -> None:
    task_id = send(RUN_TASK)
    receive(connection)
    assert redis_client.llen(QUEUE) == 0
    connection.close()
    assert redis_client.llen(QUEUE) == 1
    with Connection(settings.redis_url, transport=TolerantTransport) as another:
        assert receive(another).headers["id"] == task_id


@pytest.mark.parametrize("requeue", [True, False])
def test_a_rejected_message_goes_back_only_when_it_is_asked_for(
    connection: Connection, redis_client: redis.Redis, send: Any, requeue: bool
) -> None:
    send(RUN_TASK)
    receive(connection).reject(requeue=requeue)
    assert redis_client.llen(QUEUE) == int(requeue)
    assert not redis_client.exists("unacked", "unacked_index")


@contextmanager
def full(client: redis.Redis, share: float) -> Iterator[None]:
    """Redis has so little memory that this share of it is used."""
    client.setrange("outsider", 20 << 20, "x")
    client.config_set("maxmemory", int(int(client.info("memory")["used_memory"]) / share))
    try:
        yield
    finally:
        client.config_set("maxmemory", 0)
        client.delete("outsider")


def test_results_are_written_where_redis_is_full(settings: Settings, redis_client: redis.Redis) -> None:
    app = make_app(settings)
    app.loader.override_backends = RESULT_BACKENDS
    with full(redis_client, 1.2):
        app.backend.store_result("job", {"images": []}, "SUCCESS")
    assert app.AsyncResult("job").get(timeout=DEADLINE_S) == {"images": []}
    assert 0 < int(redis_client.ttl("celery-task-meta-job")) <= 24 * 3600
