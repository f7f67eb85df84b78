"""
Messages as clients in Go and PHP write them, and results as they read them: no library of theirs is here.

gocelery: https://github.com/gocelery/gocelery, `message.go`, `redis_broker.go`, `redis_backend.go`, `gocelery.go`.
celery-php: https://github.com/gjedeer/celery-php, `src/CeleryAbstract.php`, `src/RedisConnector.php`,
`src/AsyncResult.php`.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from abc import ABC, abstractmethod
from typing import Any

import redis

from tests.blackbox.system import until

TASK = "imagemill.generate"
ENDS = ("SUCCESS", "FAILURE", "REVOKED")


class Client(ABC):
    """Of Redis; the client in question sends and reads as it does."""

    def __init__(self, client: redis.Redis, queue: str) -> None:
        self.redis = client
        self.queue = queue

    @abstractmethod
    def send(self, **fields: Any) -> str:
        """Send a request; its task's id."""

    @abstractmethod
    def wait(self, task_id: str) -> dict[str, Any]:
        """The result, as the client takes it for one."""


class Go(Client):
    """`DelayKwargs`, and `AsyncResult.Get`: every 50 ms, until there is an end."""

    def send(self, **fields: Any) -> str:
        body = {
            "id": str(uuid.uuid4()),
            "task": TASK,
            "args": [],
            "kwargs": fields,
            "retries": 0,
            "eta": None,
            "expires": None,
        }
        message = {
            "body": base64.b64encode(json.dumps(body).encode()).decode(),
            "content-type": "application/json",
            "properties": {
                "body_encoding": "base64",
                "correlation_id": str(uuid.uuid4()),  # Its own, and not the task's.
                "reply_to": str(uuid.uuid4()),
                "delivery_info": {"priority": 0, "routing_key": "celery", "exchange": "celery"},
                "delivery_mode": 2,
                "delivery_tag": str(uuid.uuid4()),
            },
            "content-encoding": "utf-8",
        }  # No headers: they are left out where there are none.
        self.redis.lpush(self.queue, json.dumps(message))
        return str(body["id"])

    def wait(self, task_id: str) -> dict[str, Any]:
        def end() -> dict[str, Any] | None:
            text = self.redis.get(f"celery-task-meta-{task_id}")
            found: dict[str, Any] = json.loads(str(text)) if text else {}
            return found if found.get("status") in ENDS else None

        result = until(f"the result of {task_id} is there", end)
        # What Go's decoder holds `ResultMessage` to.
        assert isinstance(result["task_id"], str)
        assert isinstance(result["children"], list | None)
        return result


class Php(Client):
    """`PostTask` of an associative array, and `AsyncResult::get`: the first that it finds is the end, and deleted."""

    def send(self, **fields: Any) -> str:
        seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
        task_id = f"php_{seconds:08x}{microseconds:05x}.{uuid.uuid4().int % 10**8:08d}"  # uniqid('php_', true)
        body = {"id": task_id, "task": TASK, "args": [], "kwargs": fields}
        message = {
            "body": base64.b64encode(json.dumps(body).encode()).decode(),
            "headers": {},
            "content-type": "application/json",
            "content-encoding": "binary",
            "properties": {
                "body_encoding": "base64",
                "reply_to": task_id,
                "delivery_info": {"priority": 0, "routing_key": self.queue, "exchange": self.queue},
                "delivery_mode": 2,
                "delivery_tag": task_id,
            },
        }
        self.redis.lpush(self.queue, json.dumps(message))
        return task_id

    def wait(self, task_id: str) -> dict[str, Any]:
        key = f"celery-task-meta-{task_id}"
        text = until(f"the result of {task_id} is there", lambda: self.redis.get(key))
        self.redis.delete(key)
        return dict(json.loads(str(text)))
