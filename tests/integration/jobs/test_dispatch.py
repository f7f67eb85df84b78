"""What lies in Celery's queues: small messages that mean "look at this job"."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
import redis
from celery import Celery

from jobs.broker.app import make_app
from jobs.broker.dispatch import Dispatcher
from jobs.errors import RedisUnavailable
from jobs.process.settings import Settings
from jobs.table.record import JobRecord
from jobs.table.table import JobTable
from ops.process import free_port
from producer import Client

QUEUE = "gpu.shapes-flow"
LINE = "run.shapes-flow"
LONG_PROMPT = "a large red circle " + "on a blue background " * 150 + "with a secret"

# kombu keeps a list for each priority: https://docs.celeryq.dev/en/stable/userguide/routing.html#redis-message-priorities
LISTS = {"high": LINE, "normal": f"{LINE}\x06\x163", "low": f"{LINE}\x06\x166"}


@pytest.fixture
def app(settings: Settings) -> Celery:
    return make_app(settings)


def messages(client: redis.Redis, key: str) -> list[dict[str, Any]]:
    """The messages of one list, oldest first."""
    return [json.loads(message) for message in reversed(client.lrange(key, 0, -1))]


def read_ids(app: Celery, count: int) -> list[str]:
    """Task ids in the order in which a worker gets them."""
    with app.connection_for_read() as connection, connection.SimpleQueue(LINE, no_ack=True) as queue:
        return [str(queue.get(timeout=60).headers["id"]) for _ in range(count)]


@pytest.mark.parametrize("priority", LISTS)
def test_messages_of_every_priority_stand_in_one_line(client: Client, redis_client: redis.Redis, priority: str) -> None:
    job = client.submit("a red circle", priority=priority)
    assert {name: len(messages(redis_client, key)) for name, key in LISTS.items()} == {"high": 0, "normal": 1, "low": 0}
    (message,) = messages(redis_client, LISTS["normal"])
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
    assert shown.startswith("shapes-flow 128×128 8 steps “a large red circle on a blue background")
    assert len(shown) < 100


def test_callers_go_in_the_order_of_release_whatever_their_priorities(client: Client, app: Celery) -> None:
    priorities = ["low", "normal", "high", "low", "normal", "high"]
    ids = [client.submit("a red circle", priority=each, caller=f"caller-{n}").id for n, each in enumerate(priorities)]
    assert read_ids(app, 6) == ids


def test_job_that_was_called_up_is_taken_first(
    client: Client, app: Celery, table: JobTable, settings: Settings
) -> None:
    low, other, high = (client.submit("a red circle", priority=each).id for each in ("low", "low", "high"))
    assert read_ids(app, 1) == [low]
    claimed, released = table.claim(low, owner="a worker", gives_way=True)
    assert (claimed, released) == (None, [high, low])
    Dispatcher(app, table, settings).offer(released)
    assert read_ids(app, 4) == [high, other, high, low]


def test_job_that_has_begun_meanwhile_gets_no_message(
    client: Client, app: Celery, table: JobTable, settings: Settings, redis_client: redis.Redis
) -> None:
    job = client.submit("a red circle")
    read_ids(app, 1)
    table.claim(job.id, owner="a worker")
    Dispatcher(app, table, settings).send([job.id])
    assert redis_client.keys(f"{LINE}*") == []


def test_job_is_announced_once(client: Client, redis_client: redis.Redis) -> None:
    jobs = [client.submit("a red circle") for _ in range(3)]
    assert [message["headers"]["id"] for message in messages(redis_client, LISTS["normal"])] == [job.id for job in jobs]


def test_job_without_a_record_is_passed_over(
    app: Celery, table: JobTable, settings: Settings, redis_client: redis.Redis
) -> None:
    Dispatcher(app, table, settings).send(["no-such-job"])
    assert redis_client.keys(f"{LINE}*") == []


def test_broker_that_is_away_is_an_error_of_ours(client: Client, table: JobTable, settings: Settings) -> None:
    """Redis goes away between the table and the queue."""
    job = client.submit("a red circle")
    nowhere = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    with pytest.raises(RedisUnavailable, match="make up"):
        Dispatcher(make_app(nowhere), table, nowhere).send([job.id])


class _Broken(JobTable):
    def outgoing(self, job_ids: Sequence[str]) -> list[tuple[JobRecord, bool]]:
        raise ZeroDivisionError


def test_offer_raises_nothing_whatever_goes_wrong(
    app: Celery, table: JobTable, settings: Settings, redis_client: redis.Redis
) -> None:
    nowhere = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    Dispatcher(make_app(nowhere), table, nowhere).offer(["a-job"])
    Dispatcher(app, _Broken(redis_client, settings), settings).offer(["a-job"])
