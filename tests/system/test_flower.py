"""Flower shows the queue, and each job under its id with a line that a person can read."""

from __future__ import annotations

from typing import Any

import httpx2 as httpx
import pytest
from celery import Celery

from jobs.table.states import Status
from ops.process import wait_until
from ops.programs import Flower
from producer import Client
from tests.system.conftest import DEADLINE_S, ask_flower

QUEUE, LINE = "gpu.shapes-flow", "run.shapes-flow"


def test_job_is_shown_with_a_short_readable_line(system: Client, flower: Flower) -> None:
    prompt = "a large red circle on a blue background " + "and so on " * 50
    job = system.submit(prompt, num_inference_steps=2)
    job.wait(DEADLINE_S)
    assert wait_until(lambda: _task(flower, job.id).get("state") == "SUCCESS", DEADLINE_S)
    task = _task(flower, job.id)
    assert task["name"] == "imagemill.run"
    assert task["args"].startswith("shapes-flow 128×128 2 steps “a large red circle")
    assert len(task["args"]) < 100
    assert task["runtime"] > 0


def test_failed_job_is_shown_as_failed(system: Client, flower: Flower) -> None:
    with _plain_celery(system) as app:
        sent = app.send_task("imagemill.generate", kwargs={"prompt": ""}, queue=QUEUE)
    assert wait_until(lambda: _task(flower, sent.id).get("state") == "FAILURE", DEADLINE_S)


def test_canceled_job_is_shown_as_revoked(system: Client, flower: Flower) -> None:
    job = system.submit("a red circle", num_inference_steps=100, n=4)
    next(event for event in job.events() if event.type == "progress")
    job.cancel()
    assert wait_until(lambda: _task(flower, job.id).get("state") == "REVOKED", DEADLINE_S)


def test_worker_and_queue_are_shown(system: Client, flower: Flower) -> None:
    assert wait_until(lambda: bool(ask_flower(flower, "/api/workers?refresh=1")), DEADLINE_S)
    queues = ask_flower(flower, "/api/queues/length")["active_queues"]
    assert LINE in [queue["name"] for queue in queues]


@pytest.mark.parametrize("path", ["/", "/workers", "/tasks", "/broker", "/api/workers"])
def test_login_is_needed(flower: Flower, path: str) -> None:
    assert httpx.get(f"{flower.url}{path}", timeout=DEADLINE_S, trust_env=False).status_code == 401
    assert (
        httpx.get(f"{flower.url}{path}", auth=("operator", "wrong"), timeout=DEADLINE_S, trust_env=False).status_code
        == 401
    )


def test_job_revoked_there_is_canceled_here(system: Client, flower: Flower) -> None:
    name, _, password = (flower.login or "").partition(":")
    job = system.submit("a green square", num_inference_steps=100, n=4)
    assert wait_until(lambda: _task(flower, job.id).get("state") == "STARTED", DEADLINE_S)
    address = f"{flower.url}/api/task/revoke/{job.id}?terminate=true"
    assert httpx.post(address, auth=(name, password), timeout=DEADLINE_S, trust_env=False).status_code == 200
    assert job.wait(DEADLINE_S).status is Status.CANCELED


def _task(flower: Flower, task_id: str) -> dict[str, Any]:
    found = ask_flower(flower, f"/api/task/info/{task_id}")
    return found if isinstance(found, dict) else {}


def _plain_celery(system: Client) -> Celery:
    return Celery("elsewhere", broker=system.parts.settings.redis_url, set_as_current=False)
