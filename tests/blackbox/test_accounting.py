"""Jobs of plain Celery are jobs like any other: counted, ordered, paused, listed and emptied with all others."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Sequence
from typing import Any

import pytest

from ops.process import LOOPBACK, free_port
from tests.blackbox.conftest import MakeSystem
from tests.blackbox.outside import QUEUE, Result, generate, standing, wait_for
from tests.blackbox.system import System, simulated, until

MANY = 40
WINDOW = 2
# Of one caller's: what stands in Celery, whatever the number of callers, and what a worker has in hand.
MOST_BEFORE = 12


def send(system: System, count: int = MANY, fields: dict[str, Any] | None = None, **options: Any) -> list[Result]:
    app = system.celery()
    return [generate(app, {"num_inference_steps": 3, **(fields or {})}, **options).apply_async() for _ in range(count)]


def began(system: System, job_ids: Sequence[str]) -> list[float]:
    return [float(system.end_of(job_id)["started_at"]) for job_id in job_ids]


def adopted(system: System, sent: Sequence[Result]) -> None:
    """Until each message is a job: nobody's slot has to be free for that."""
    client = system.redis()
    until("all are jobs", lambda: client.exists(*(f"imagemill:job:{task.id}" for task in sent)) == len(sent))
    assert standing(client) == 0


def busy(system: System) -> str:
    """A job that keeps the only slot until it is canceled; it runs."""
    job = system.submit(num_inference_steps=1000)
    until("it runs", lambda: system.job(job)["step"] > 0)
    return job


@pytest.mark.parametrize("priority", ["normal", "high"])
def test_job_of_another_caller_does_not_wait_for_a_flood_of_messages(make_system: MakeSystem, priority: str) -> None:
    system = make_system(simulated(row_s=0.02), {"IMAGEMILL_RELEASE_WINDOW": str(WINDOW)})
    system.serve()
    system.worker("--concurrency", "1")
    held = busy(system)
    sent = send(system)
    adopted(system, sent)
    job = system.submit(caller="another", priority=priority)
    system.http("DELETE", f"/v1/jobs/{held}")
    began_at = began(system, [job])[0]
    before = sum(each < began_at for each in began(system, [str(task.id) for task in sent]))
    assert before <= MOST_BEFORE, f"{before} of {MANY} messages of another caller began before it"


def test_messages_are_counted_and_purged_while_all_slots_are_busy(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    port = free_port()
    system.serve(env={"IMAGEMILL_METRICS_PORT": str(port)})
    system.worker("--concurrency", "1")
    held = busy(system)
    sent = send(system)
    adopted(system, sent)
    (listed,) = [json.loads(line) for line in system.cli("queue", "list", "--json").stdout.splitlines()]
    assert listed["waiting"] + listed["released"] == MANY
    (shown,) = [each for each in system.http("GET", "/v1/queues").body["data"] if each["queue"] == QUEUE]
    assert shown["waiting"] == MANY
    assert metric(port, "imagemill_queued_jobs") == MANY
    assert {each["status"] for each in system.http("GET", "/v1/jobs?limit=100").body["data"]} == {
        "queued",
        "processing",
    }
    new = system.http("POST", "/v1/jobs?dry_run=true", {"prompt": "a star"}).body
    assert new["queue_position"] > MANY
    purged = json.loads(system.cli("queue", "purge", QUEUE, "--yes", "--json").stdout)
    assert purged["canceled"] == MANY
    for task in sent:
        wait_for(task, "REVOKED")
    assert system.job(held)["status"] == "processing"


def metric(port: int, name: str) -> float:
    """The sum of a metric over its labels."""
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE))


def test_messages_of_a_paused_queue_wait_in_it(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    system.serve()
    system.worker()
    system.cli("queue", "pause", QUEUE)
    sent = send(system, 5)
    adopted(system, sent)
    (shown,) = [each for each in system.http("GET", "/v1/queues").body["data"] if each["queue"] == QUEUE]
    assert (shown["waiting"], shown["paused"]) == (5, True)
    system.cli("queue", "resume", QUEUE)
    for task in sent:
        wait_for(task, "SUCCESS")


def test_priority_of_a_message_is_the_job_s(make_system: MakeSystem) -> None:
    system = make_system(simulated(row_s=0.02))
    system.serve()
    system.worker("--concurrency", "1")
    held = busy(system)
    sent = send(system, 10, priority=4)
    adopted(system, sent)
    first, last = send(system, 1, priority=0), send(system, 1, priority=9)
    adopted(system, [*first, *last])
    shown = [system.job(str(task.id))["parameters"]["priority"] for task in (*first, *last, sent[0])]
    assert shown == ["high", "low", "normal"]
    system.http("DELETE", f"/v1/jobs/{held}")
    (high,), (low,) = (began(system, [str(each[0].id)]) for each in (first, last))
    others = began(system, [str(task.id) for task in sent])
    assert high < min(others)
    assert low > max(others)


def test_job_with_a_countdown_is_seen_while_it_waits_and_does_not_begin_before_its_time(
    make_system: MakeSystem,
) -> None:
    system = make_system(simulated())
    system.serve()
    system.worker()
    [task] = send(system, 1, countdown=4)
    adopted(system, [task])
    shown = system.job(str(task.id))
    assert shown["status"] == "queued"
    ended = system.end_of(str(task.id))
    assert ended["started_at"] - ended["created_at"] > 2
    wait_for(task, "SUCCESS")


def test_two_messages_with_one_idempotency_key_are_one_job(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    system.serve()
    system.worker()
    first, second = send(system, 2, {"idempotency_key": "order-7"})
    ids = {str(first.id), str(second.id)}
    ended = {task.id: until("it has an end", lambda task=task: end_of(task)) for task in (first, second)}  # type: ignore[misc]
    assert sorted(ended.values()) == ["FAILURE", "SUCCESS"]
    (done,) = [task_id for task_id, state in ended.items() if state == "SUCCESS"]
    (other,) = ids - {str(done)}
    assert str(done) in system.job(other)["error"]["message"]


def end_of(task: Result) -> str | None:
    return task.state if task.state in ("SUCCESS", "FAILURE", "REVOKED") else None
