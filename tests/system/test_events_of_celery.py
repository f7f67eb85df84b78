"""What the worker tells Flower of its tasks: all of it, also of the last job before a quiet time, in few messages."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from ops.servers import RedisServer
from producer import Client

JOBS = 60
KINDS = ("task-received", "task-started", "task-succeeded")
BUNCHES_PER_S = 4
EVENTS_OF_A_FULL_BUNCH = 24  # Celery sends so many without waiting for more.
DEADLINE_S = 60.0


def test_every_event_comes_and_they_come_in_bunches(system: Client, redis_server: RedisServer) -> None:
    with heard_of_tasks(redis_server) as messages:
        jobs = system.submit_many({"prompt": "a red circle", "num_inference_steps": 1} for _ in range(JOBS))
        ids = {job.id for job in jobs}
        seen: dict[str, set[str]] = {kind: set() for kind in KINDS}
        bunches: list[float] = []
        while not all(ids <= of_kind for of_kind in seen.values()):
            bunch = next(messages)
            bunches.append(time.monotonic())
            for event in bunch:
                seen.setdefault(event["type"], set()).add(event["uuid"])
    assert {job.status().status for job in jobs} == {"succeeded"}
    events = len(KINDS) * JOBS
    sent_by_time = (bunches[-1] - bunches[0]) * BUNCHES_PER_S + 2
    assert len(bunches) <= sent_by_time + events / EVENTS_OF_A_FULL_BUNCH, Counter(round(each, 1) for each in bunches)


@contextmanager
def heard_of_tasks(server: RedisServer) -> Iterator[Iterator[list[dict[str, Any]]]]:
    """The messages about tasks from now on, each as the events in it."""
    with redis.Redis.from_url(server.url) as client, client.pubsub() as pubsub:
        pubsub.psubscribe("*celeryev/task.*")
        assert pubsub.get_message(timeout=DEADLINE_S)["type"] == "psubscribe"

        def messages() -> Iterator[list[dict[str, Any]]]:
            end = time.monotonic() + DEADLINE_S
            while (left_s := end - time.monotonic()) > 0:
                message = pubsub.get_message(timeout=left_s)
                if message is not None:
                    body = json.loads(base64.b64decode(json.loads(message["data"])["body"]))
                    yield body if isinstance(body, list) else [body]
            raise AssertionError(f"no further event within {DEADLINE_S:g} s")

        yield messages()
