"""What lies in Celery's queues: small messages that mean "look at this job"."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import redis
from celery import Celery

from jobs.celery_app import make_app
from jobs.dispatch import Dispatcher
from jobs.errors import RedisUnavailable
from jobs.settings import Settings
from jobs.table import JobTable
from ops.process import free_port
from producer import Client

QUEUE = "gpu.shapes"
LONG_PROMPT = "a large red circle " + "on a blue background " * 150 + "with a secret"

# kombu keeps a list for each priority: https://docs.celeryq.dev/en/stable/userguide/routing.html#redis-message-priorities
LISTS = {"high": QUEUE, "normal": f"{QUEUE}\x06\x163", "low": f"{QUEUE}\x06\x166"}


@pytest.fixture
def app(settings: Settings) -> Celery:
    return make_app(settings)


def messages(client: redis.Redis, key: str) -> list[dict[str, Any]]:
    """The messages of one list, oldest first."""
    return [json.loads(message) for message in reversed(client.lrange(key, 0, -1))]


def read_ids(app: Celery, count: int) -> list[str]:
    """Task ids in the order in which a worker gets them."""
    with app.connection_for_read() as connection, connection.SimpleQueue(QUEUE, no_ack=True) as queue:
        return [str(queue.get(timeout=5).headers["id"]) for _ in range(count)]


@pytest.mark.parametrize("priority", LISTS)
def test_message_lies_in_the_list_of_its_priority(client: Client, redis_client: redis.Redis, priority: str) -> None:
    job = client.submit("a red circle", priority=priority)
    assert {name: len(messages(redis_client, key)) for name, key in LISTS.items()} == {
        name: int(name == priority) for name in LISTS
    }
    (message,) = messages(redis_client, LISTS[priority])
    assert message["headers"]["id"] == job.id
    assert message["headers"]["task"] == "imagemill.run"


def test_message_carries_the_job_id_and_no_prompt(client: Client, redis_client: redis.Redis) -> None:
    job = client.submit(LONG_PROMPT, metadata={"order": "12"})
    (message,) = messages(redis_client, LISTS["normal"])
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert (args, kwargs) == ([], {})
    assert message["headers"]["id"] == job.id
    assert "secret" not in json.dumps(message)
    assert len(json.dumps(message)) < 2_000


def test_people_see_a_short_readable_argument(client: Client, redis_client: redis.Redis) -> None:
    client.submit(LONG_PROMPT)
    (message,) = messages(redis_client, LISTS["normal"])
    shown = message["headers"]["argsrepr"]
    assert shown.startswith("shapes 128×128 20 steps “a large red circle on a blue background")
    assert len(shown) < 100


def test_high_goes_before_normal_and_low_and_each_in_order(client: Client, app: Celery) -> None:
    priorities = ["low", "normal", "high", "low", "normal", "high"]
    ids = [client.submit("a red circle", priority=priority).id for priority in priorities]
    assert read_ids(app, 6) == [ids[index] for index in (2, 5, 1, 4, 0, 3)]


def test_job_is_announced_once(client: Client, redis_client: redis.Redis) -> None:
    jobs = [client.submit("a red circle") for _ in range(3)]
    assert [message["headers"]["id"] for message in messages(redis_client, LISTS["normal"])] == [job.id for job in jobs]


def test_job_without_a_record_is_passed_over(
    app: Celery, table: JobTable, settings: Settings, redis_client: redis.Redis
) -> None:
    Dispatcher(app, table, settings).send(["no-such-job"])
    assert redis_client.keys(f"{QUEUE}*") == []


def test_broker_that_is_away_is_an_error_of_ours(client: Client, table: JobTable, settings: Settings) -> None:
    """Redis goes away between the table and the queue."""
    job = client.submit("a red circle")
    nowhere = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    with pytest.raises(RedisUnavailable, match="make up"):
        Dispatcher(make_app(nowhere), table, nowhere).send([job.id])
