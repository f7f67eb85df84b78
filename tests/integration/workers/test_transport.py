"""What kombu keeps in Redis of messages that a worker has and has not acknowledged, on a real server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Consumer, Queue

from jobs.announce.backends import RESULT_BACKENDS
from jobs.broker.app import make_app
from jobs.names import GENERATE_TASK, RUN_TASK
from jobs.process.settings import Settings
from ops.servers import RedisServer
from workers.delivery.deliveries import Deliveries, Delivery
from workers.delivery.transport import TolerantTransport
from workers.delivery.unacked import Unacked

QUEUE = "gpu.shapes"
DEADLINE_S = 10.0


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


def test_a_message_of_somebody_else_is_kept_until_it_is_acknowledged(
    connection: Connection, redis_client: redis.Redis, send: Any
) -> None:
    send(GENERATE_TASK)
    message = receive(connection)
    assert redis_client.hlen("unacked") == redis_client.zcard("unacked_index") == 1
    message.ack()
    assert not redis_client.exists("unacked", "unacked_index", QUEUE)


@pytest.mark.parametrize("task", [RUN_TASK, GENERATE_TASK])
def test_what_is_not_acknowledged_goes_back_when_the_worker_leaves(
    settings: Settings, connection: Connection, redis_client: redis.Redis, send: Any, task: str
) -> None:
    task_id = send(task)
    receive(connection)
    assert redis_client.llen(QUEUE) == 0
    connection.close()
    assert redis_client.llen(QUEUE) == 1
    with Connection(settings.redis_url, transport=TolerantTransport) as another:
        assert receive(another).headers["id"] == task_id


@pytest.mark.parametrize("task", [RUN_TASK, GENERATE_TASK])
@pytest.mark.parametrize("requeue", [True, False])
def test_a_rejected_message_goes_back_only_when_it_is_asked_for(
    connection: Connection, redis_client: redis.Redis, send: Any, task: str, requeue: bool
) -> None:
    send(task)
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


def put_back_what_is_due(connection: Connection) -> None:
    channel: Any = connection.default_channel
    channel.qos.restore_visible()


def test_a_full_redis_takes_the_copy_and_the_message_back(
    connection: Connection, redis_client: redis.Redis, send: Any
) -> None:
    task_id = send(GENERATE_TASK)
    with full(redis_client, 1.2):
        message = receive(connection)
        assert redis_client.hlen("unacked") == redis_client.zcard("unacked_index") == 1
        message.reject(requeue=True)
        assert not redis_client.exists("unacked", "unacked_index")
    assert receive(connection).headers["id"] == task_id


def test_a_rejected_message_goes_behind_all_others(connection: Connection, app: Celery, send: Any) -> None:
    first = send(GENERATE_TASK)
    message = receive(connection)
    second = send(GENERATE_TASK)
    message.reject(requeue=True)
    assert [receive(connection).headers["id"] for _ in range(2)] == [second, first]


def test_a_copy_that_is_due_goes_back_once_there_is_room(
    settings: Settings, connection: Connection, redis_client: redis.Redis, send: Any
) -> None:
    task_id = send(GENERATE_TASK)
    message = receive(connection)
    Deliveries(redis_client, settings).postpone(Delivery(message), for_s=0)
    with full(redis_client, 0.9), Connection(settings.redis_url, transport=TolerantTransport) as another:
        put_back_what_is_due(another)
        assert redis_client.llen(QUEUE) == 0
    with Connection(settings.redis_url, transport=TolerantTransport) as another:
        put_back_what_is_due(another)
        assert not redis_client.exists("unacked", "unacked_index")
        again = receive(another)
        assert (again.headers["id"], again.headers["redelivered"]) == (task_id, True)


def test_a_copy_that_is_not_due_stays(
    settings: Settings, connection: Connection, redis_client: redis.Redis, send: Any
) -> None:
    send(GENERATE_TASK)
    message = receive(connection)
    Deliveries(redis_client, settings).postpone(Delivery(message), for_s=60)
    message.channel.qos.restore_visible()
    assert (redis_client.llen(QUEUE), redis_client.hlen("unacked")) == (0, 1)


def test_a_copy_that_cannot_be_read_holds_no_other_up(
    connection: Connection, redis_client: redis.Redis, send: Any
) -> None:
    send(GENERATE_TASK)
    Deliveries(redis_client, Settings()).postpone(Delivery(receive(connection)), for_s=0)
    Unacked(redis_client).keep("broken", "{", 0)
    put_back_what_is_due(connection)
    assert redis_client.llen(QUEUE) == 1
    assert not redis_client.exists("unacked", "unacked_index")


def test_a_forwarded_message_stands_in_the_other_queue_once(
    settings: Settings, connection: Connection, redis_client: redis.Redis, send: Any
) -> None:
    task_id = send(GENERATE_TASK)
    delivery = Delivery(receive(connection))
    for _ in range(2):
        Deliveries(redis_client, settings).forward(delivery, "gpu.other")
    assert redis_client.llen("gpu.other") == 1
    assert not redis_client.exists("unacked", "unacked_index", QUEUE)
    with Connection(settings.redis_url, transport=TolerantTransport) as another:
        message = another.SimpleQueue("gpu.other").get(timeout=DEADLINE_S)
        assert message.headers["id"] == task_id
        assert message.delivery_info["routing_key"] == "gpu.other"


def test_a_message_that_came_while_redis_went_away_is_in_hand_and_has_no_copy(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        settings = Settings(redis_url=server.url)
        make_app(settings).send_task(GENERATE_TASK, queue=QUEUE, priority=0)
        connection = Connection(settings.redis_url, transport=TolerantTransport)
        channel: Any = connection.default_channel
        payload = channel._get(QUEUE)
    message = channel.Message(payload, channel=channel)
    channel.qos.append(message, message.delivery_tag)
    assert channel.qos.get(message.delivery_tag) is message
    assert not Delivery(message).is_copied
    channel.qos.restore_unacked()
    assert not channel.qos._delivered


def test_results_are_written_where_redis_is_full(settings: Settings, redis_client: redis.Redis) -> None:
    app = make_app(settings)
    app.loader.override_backends = RESULT_BACKENDS
    with full(redis_client, 1.2):
        app.backend.store_result("job", {"images": []}, "SUCCESS")
    assert app.AsyncResult("job").get(timeout=DEADLINE_S) == {"images": []}
    assert 0 < int(redis_client.ttl("celery-task-meta-job")) <= 24 * 3600
