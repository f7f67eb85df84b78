"""Flower shows the queue, and each job under its id with a line that a person can read."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from ops.process import wait_until
from ops.stack import Flower, Program
from producer import Client

QUEUE = "gpu.shapes"


@pytest.fixture(scope="module")
def flower(worker: Program, stack_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    # Flower's JSON interface is closed unless this opens it.
    env = stack_env | {"FLOWER_UNAUTHENTICATED_API": "true"}
    with Flower(tmp_path_factory.mktemp("flower") / "state", 0, env) as flower:
        # It answers before it listens to events, and knows of a job only what it has heard: wait for a heartbeat.
        assert wait_until(lambda: any((_get(flower, "/api/workers?status=1") or {}).values()), 30)
        yield flower


def test_job_is_shown_with_a_short_readable_line(system: Client, flower: Flower) -> None:
    prompt = "a large red circle on a blue background " + "and so on " * 50
    job = system.submit(prompt, num_inference_steps=2)
    job.wait(60)
    assert wait_until(lambda: _task(flower, job.id).get("state") == "SUCCESS", 30)
    task = _task(flower, job.id)
    assert task["name"] == "imagemill.run"
    assert task["args"].startswith("shapes 128×128 2 steps “a large red circle")
    assert len(task["args"]) < 100
    assert task["runtime"] > 0


def test_failed_job_is_shown_as_failed(system: Client, flower: Flower) -> None:
    with _plain_celery(system) as app:
        sent = app.send_task("imagemill.generate", kwargs={"prompt": ""}, queue=QUEUE)
    assert wait_until(lambda: _task(flower, sent.id).get("state") == "FAILURE", 30)


def test_canceled_job_is_shown_as_revoked(system: Client, flower: Flower) -> None:
    job = system.submit("a red circle", num_inference_steps=200)
    next(event for event in job.events() if event.type == "progress")
    job.cancel()
    assert wait_until(lambda: _task(flower, job.id).get("state") == "REVOKED", 60)


def test_worker_and_queue_are_shown(system: Client, flower: Flower) -> None:
    assert wait_until(lambda: bool(_get(flower, "/api/workers?refresh=1")), 30)
    queues = _get(flower, "/api/queues/length")["active_queues"]
    assert QUEUE in [queue["name"] for queue in queues]


def _task(flower: Flower, task_id: str) -> dict[str, Any]:
    found = _get(flower, f"/api/task/info/{task_id}")
    return found if isinstance(found, dict) else {}


def _get(flower: Flower, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", flower.port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return json.loads(body) if response.status == http.client.OK else None
    finally:
        connection.close()


def _plain_celery(system: Client) -> Celery:
    return Celery("elsewhere", broker=system.settings.redis_url, set_as_current=False)
