"""Health is asked of the queue itself: what stands where nobody looks, and workers that only seem to work, are seen."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from ops.process import free_port, http_status
from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import System, simulated, until
from tests.processes import children_of

FIELDS: dict[str, Any] = {"prompt": "a green cross on a white background"}


def findings(system: System) -> list[dict[str, Any]]:
    """What the doctor says."""
    return [json.loads(line) for line in system.cli("doctor", "--json").stdout.splitlines()]


def failures(system: System, words: str) -> list[dict[str, Any]]:
    """Of what failed or is to be feared, that which names this."""
    said = [each for each in findings(system) if each["state"] in ("failure", "warning")]
    return [each for each in said if words in f"{each['check']} {each['found']} {each['advice']}"]


def workers(system: System) -> list[dict[str, Any]]:
    return [json.loads(line) for line in system.cli("workers", "--json").stdout.splitlines()]


def troubled(system: System) -> list[dict[str, Any]]:
    """Workers with which something is wrong."""
    return [each for each in workers(system) if each["troubles"]]


LABELS = {
    "gpu.nope": 'model="nope",queue="gpu.nope",sender="others"',
    "run.nope": 'model="nope",queue="gpu.nope",sender="table"',
    "any.nope": 'model="",queue="any.nope",sender="others"',
}


@pytest.mark.parametrize("queue", LABELS)
def test_messages_for_a_model_that_there_is_not_are_seen_with_what_to_do(make_system: MakeSystem, queue: str) -> None:
    port = free_port()
    system = make_system(simulated())
    assert not failures(system, queue)
    for _ in range(2):
        system.celery().send_task("imagemill.generate", kwargs=FIELDS, queue=queue)
    system.worker()
    system.serve(env={"IMAGEMILL_METRICS_PORT": str(port)})
    (found,) = failures(system, queue)
    assert found["state"] == "failure"
    assert "2 messages" in found["found"]
    assert "gpu.sim" in found["advice"]
    until("it can be read over HTTP", lambda: system.http("GET", "/ready").body["unread"] == {queue: 2})
    assert f"2 messages wait in {queue}, and no worker receives from it" in system.cli("workers").stderr
    labels = LABELS[queue]
    until("it is in the metrics", lambda: value(port, "imagemill_unread_messages", labels) == 2)


def test_messages_in_a_list_that_no_worker_reads_are_seen(make_system: MakeSystem) -> None:
    """What others send to the table's own line, with a priority that it does not use."""
    system = make_system(simulated())
    system.serve()
    system.worker()
    app = system.celery(broker_transport_options={"priority_steps": list(range(10))})
    app.send_task("imagemill.generate", kwargs=FIELDS, queue="run.sim", priority=9)
    (found,) = failures(system, "priority 9")
    assert "gpu.sim" in found["advice"]
    until("it can be read over HTTP", lambda: system.http("GET", "/ready").body["unread"] == {"run.sim": 1})


def test_message_of_any_priority_becomes_a_job(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    system.serve()
    system.worker()
    app = system.celery(broker_transport_options={"priority_steps": list(range(10))})
    sent = [
        app.send_task("imagemill.generate", kwargs=FIELDS, queue="gpu.sim", priority=priority) for priority in (1, 5, 9)
    ]
    assert {system.end_of(each.id)["status"] for each in sent if known(system, each.id)} == {"succeeded"}
    assert not failures(system, "gpu.sim")


def known(system: System, job_id: str) -> bool:
    return bool(until(f"{job_id} is a job", lambda: system.http("GET", f"/v1/jobs/{job_id}").status == 200))


@pytest.mark.parametrize("queue", ["gpu.sim", "run.sim"])
def test_worker_whose_consumer_was_canceled_is_not_ready_and_takes_jobs_again_when_told(
    make_system: MakeSystem, queue: str
) -> None:
    system = make_system(simulated())
    system.serve()
    system.worker()
    app = system.celery()
    app.control.cancel_consumer(queue)
    until("it says so", lambda: [each["state"] for each in workers(system)] == ["detached"])
    job_id = system.submit()
    (found,) = failures(system, "add_consumer")
    assert "gpu.sim" in found["found"]
    assert failures(system, "no worker serves sim")
    until("it is seen over HTTP", lambda: not system.http("GET", "/ready").body["workers"].get("sim"))
    named = re.search(r"add_consumer (\S+) -d (\S+?),", found["advice"])
    assert named is not None
    app.control.add_consumer(named[1], destination=[named[2]])
    assert system.end_of(job_id)["status"] == "succeeded"
    until("it says that it takes jobs", lambda: not failures(system, "add_consumer"))


def test_queue_that_is_no_worker_s_cannot_be_given_to_one(make_system: MakeSystem) -> None:
    """Celery would take what others send to `celery`, and drop it."""
    system = make_system(simulated())
    system.worker()
    app = system.celery()
    answers: Any = app.control.add_consumer("celery", reply=True, timeout=30)
    assert len(answers) == 1
    assert "takes no jobs of celery" in str(answers[0])
    app.send_task("theirs.task", queue="celery")
    assert system.redis().llen("celery") == 1


def test_worker_that_fails_at_its_start_is_seen_with_its_sentence(make_system: MakeSystem, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    broken = simulated().replace('family = "simulated"', 'family = "diffusers"')
    broken = re.sub(r'source = ".*"', f'source = "{tmp_path / "empty"}"', broken)
    system = make_system(broken)
    worker = system.worker(is_ready=False)
    assert worker.wait_for_exit() != 0
    (shown,) = workers(system)
    assert shown["state"] == "failed"
    (trouble,) = shown["troubles"]
    assert "model sim" in trouble
    assert trouble.partition(": ")[2] in failures(system, "worker worker@")[0]["found"]
    assert "failed" in system.cli("workers").stdout


def test_worker_that_is_killed_again_and_again_is_seen(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    worker = system.worker()
    (pid,) = children_of(worker.pid or 0)
    os.kill(pid, signal.SIGKILL)
    (shown,) = until("it is seen", lambda: troubled(system))
    assert "SIGKILL" in shown["troubles"][0]
    assert failures(system, "SIGKILL")


def test_figures_say_what_the_doctor_says(make_system: MakeSystem) -> None:
    port = free_port()
    system = make_system(simulated())
    system.serve(env={"IMAGEMILL_METRICS_PORT": str(port)})
    assert http_status(port, "/metrics") == 200
    system.celery().send_task("imagemill.generate", kwargs=FIELDS, queue="gpu.sim")
    until("it is seen", lambda: value(port, "imagemill_unread_messages", 'sender="others"') == 1)
    system.worker()
    until("it is taken", lambda: value(port, "imagemill_messages_adopted_total", 'queue="gpu.sim"') == 1)
    until("its notification is sent", lambda: value(port, "imagemill_notifications_total", 'outcome="sent"') == 1)
    assert value(port, "imagemill_unread_messages", 'sender="others"') == 0


def value(port: int, name: str, label: str) -> float:
    """Of the only sample of a metric that has this label."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    (line,) = [each for each in text.splitlines() if each.startswith(f"{name}{{") and label in each]
    return float(line.rpartition(" ")[2])


def test_whoever_submits_is_told_that_nobody_serves_the_model(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    system.serve()
    answer = system.http("POST", "/v1/jobs", FIELDS)
    assert answer.status == 202
    assert "no worker serves model 'sim'" in answer.body["warnings"][0]
    assert "no worker serves model 'sim'" in system.cli("submit", FIELDS["prompt"]).stderr
    system.worker()
    until("it is served", lambda: system.http("POST", "/v1/jobs", FIELDS).body["warnings"] == [])


def test_whoever_submits_is_refused_where_the_operator_wants_it(make_system: MakeSystem) -> None:
    system = make_system(simulated("sim") + simulated("idle"), {"IMAGEMILL_UNSERVED_MODELS": "refuse"})
    system.serve()
    answer = system.http("POST", "/v1/jobs", FIELDS)
    assert (answer.status, answer.body["error"]["code"]) == (503, "model_not_available")
    system.worker("--model", "sim")
    until("it is served", lambda: system.http("POST", "/v1/jobs", FIELDS).status == 202)
    fields = {**FIELDS, "model": "idle"}
    task = system.celery().send_task("imagemill.generate", kwargs=fields, queue="gpu.sim")
    with pytest.raises(Exception, match="no worker serves model 'idle'"):
        task.get(timeout=200)
