"""What the worker tells Flower of its tasks: all of it, also of the last job before a quiet time, in few messages."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from ops.servers import RedisServer
from producer import Client
from tests.system.conftest import DEADLINE_S

JOBS = 60
KINDS = ("task-received", "task-started", "task-succeeded")
BUNCHES_PER_S = 4
EVENTS_OF_A_FULL_BUNCH = 24  # Celery sends so many without waiting for more.


def test_every_event_comes_and_they_come_in_bunches(
    system: Client, redis_server: RedisServer, worker_log: list[str]
) -> None:
    with heard_of_tasks(redis_server) as messages:
        began = time.monotonic()
        jobs = system.submit_many({"prompt": "a red circle", "num_inference_steps": 1} for _ in range(JOBS))
        ids = {job.id for job in jobs}
        seen: dict[str, set[str]] = {kind: set() for kind in KINDS}
        bunches = 0
        while missing := {kind: ids - seen[kind] for kind in KINDS if ids - seen[kind]}:
            bunch = next(messages, [])
            assert bunch, f"no further event within {DEADLINE_S:g} s; missing are {missing}\n{worker_log[-50:]}"
            if any(event["type"] in KINDS for event in bunch):  # Else it is the client's, of a message that it sent.
                bunches += 1
            for event in bunch:
                seen.setdefault(event["type"], set()).add(event["uuid"])
    assert {job.status().status for job in jobs} == {"succeeded"}
    # Threads that send while a full bunch is on its way may each send what is left of one.
    full_ones = 2 * len(KINDS) * JOBS / EVENTS_OF_A_FULL_BUNCH
    assert bunches <= (time.monotonic() - began) * BUNCHES_PER_S + full_ones


@contextmanager
def heard_of_tasks(server: RedisServer) -> Iterator[Iterator[list[dict[str, Any]]]]:
    """The messages about tasks from now on, each as the events in it."""
    # Without a timeout of its own, at which it would connect anew, and what is sent meanwhile would be lost.
    with redis.Redis.from_url(server.url, socket_timeout=None) as client, client.pubsub() as pubsub:
        pubsub.psubscribe("*celeryev/task.*")
        assert pubsub.get_message(timeout=DEADLINE_S)["type"] == "psubscribe"

        def messages() -> Iterator[list[dict[str, Any]]]:
            while (message := pubsub.get_message(timeout=DEADLINE_S)) is not None:
                body = json.loads(base64.b64decode(json.loads(message["data"])["body"]))
                yield body if isinstance(body, list) else [body]

        yield messages()
