"""What is seen of both kinds while they run, and how they are ended."""

from __future__ import annotations

import json
from itertools import groupby, pairwise
from typing import Any

import pytest

from ops.process import free_port
from ops.programs import Flower
from producer import Client
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from tests.blackbox.system import System, until
from tests.kinds.asking import (
    COUNT,
    GENERATE,
    INPUT,
    LONG_COUNT,
    LONG_SKETCH,
    SKETCH,
    Sent,
    is_running,
    labelled,
    post,
    samples,
    watched_events,
)
from tests.kinds.conftest import Ports
from tests.system.conftest import ask_flower

SENT = [{"drawn": step, "of": 20} for step in (5, 10, 15, 20)]
NOT_OF_A_QUEUE = {"imagemill_workers", "imagemill_queued_jobs", "imagemill_jobs_ended_total"}


def stages_of(events: Sent) -> list[str]:
    """In their order, each once for as long as it went on."""
    stages = [data["stage"] for kind, data in events if kind == "progress"]
    return [stage for stage, _ in groupby(stages)]


def check_progress(events: Sent) -> None:
    shares = [data["progress"] for kind, data in events if kind == "progress"]
    assert shares
    assert all(earlier <= later for earlier, later in pairwise(shares)), shares
    assert shares[0] < 0.2
    assert 0.75 < shares[-1] <= 1


def test_http_sends_the_stages_of_a_kind_with_its_weights_and_its_data(system: System) -> None:
    events = watched_events(system, SKETCH)
    job = events[-1][1]["job"]["id"]
    assert [kind for kind, _ in events if kind != "progress"] == ["status", *["data"] * 4, "completed"]
    assert [data["data"] for kind, data in events if kind == "data"] == SENT
    assert all(data["job_id"] == job for _, data in events)
    assert stages_of(events) == ["look", "draw", "upload"]
    assert {data["steps"] for kind, data in events if kind == "progress" and data["stage"] == "draw"} == {20}
    check_progress(events)
    half = [data["progress"] for _, data in events if (data.get("stage"), data.get("step")) == ("draw", 10)]
    assert half in ([], [0.5])  # 1 of 10 for `look`, and half of 8; where the step was not overtaken.
    assert events[-1][1]["job"]["data"] == {"after_bytes": len(INPUT)}


def test_a_kind_without_files_ends_in_its_own_last_stage(system: System) -> None:
    events = watched_events(system, COUNT)
    assert stages_of(events) == ["split", "count"]
    check_progress(events)


def test_python_and_the_command_line_see_the_same_data(system: System, client: Client) -> None:
    job = client.submit(**SKETCH)
    assert [event.data["data"] for event in job.events() if event.type == "data"] == SENT
    shown = system.cli("events", job.id, "--json")
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [line["data"] for line in lines if line["type"] == "data"] == SENT
    people = system.cli("events", job.id).stdout
    assert 'data={"drawn": 5, "of": 20}' in people


@pytest.mark.parametrize("body", [LONG_SKETCH, LONG_COUNT], ids=["sketch", "count"])
def test_a_job_that_runs_is_canceled(system: System, body: dict[str, Any]) -> None:
    job = post(system, body)
    until("it runs", lambda: is_running(system, job))
    assert 0 < system.job(job)["progress"] < 1
    assert system.http("DELETE", f"/v1/jobs/{job}").status == 200
    ended = system.end_of(job)
    assert (ended["status"], ended["data"], ended["artifacts"]) == ("canceled", None, [])


@pytest.mark.parametrize("body", [LONG_SKETCH, LONG_COUNT], ids=["sketch", "count"])
def test_a_deadline_ends_a_job_that_runs(system: System, body: dict[str, Any]) -> None:
    ended = system.end_of(post(system, {**body, "deadline": 1.5}))
    assert (ended["status"], ended["error"]["code"]) == ("expired", "deadline_exceeded")


def test_a_runner_fails_its_job_with_a_code_and_a_sentence(system: System) -> None:
    ended = system.end_of(post(system, {**COUNT, "text": "one uncountable word"}))
    assert (ended["status"], ended["data"]) == ("failed", None)
    assert ended["error"] == {"code": "invalid_output", "message": "'uncountable' is not to be counted"}


def test_an_input_that_is_not_there_is_refused_by_the_name_of_its_field(system: System) -> None:
    answer = system.http("POST", "/v1/jobs", {**SKETCH, "image": {"object": "shared/none.png"}})
    message = "image: there is no object 'shared/none.png' in the store"
    assert (answer.status, answer.body["error"]["message"]) == (422, message)


def test_an_input_that_has_gone_fails_the_job_by_the_name_of_its_field(system: System, storage: S3Settings) -> None:
    store = S3Store(storage)
    store.put("shared/going.png", INPUT, "image/png")
    job = post(system, {**SKETCH, "image": {"object": "shared/going.png"}, "start_after": 3})
    store.delete("shared/going.png")
    ended = system.end_of(job)
    assert (ended["status"], ended["attempts"]) == ("failed", 0)
    message = "image: the picture of object 'shared/going.png' is not in the store any more"
    assert ended["error"] == {"code": "invalid_input", "message": message}


def test_sketches_share_passes_with_pictures(system: System, ports: Ports) -> None:
    def of_passes() -> tuple[float, float]:
        metrics, sim = samples(ports.worker), labelled(model="sim")
        return metrics["imagemill_pass_rows_sum"][sim], metrics["imagemill_pass_rows_count"][sim]

    rows_before, passes_before = of_passes()
    sketch = post(system, {**SKETCH, "draw_steps": 300})
    until("it runs", lambda: is_running(system, sketch))
    picture = system.end_of(post(system, {**GENERATE, "num_inference_steps": 20}))
    assert (picture["status"], system.job(sketch)["status"]) == ("succeeded", "processing")
    assert system.end_of(sketch)["status"] == "succeeded"
    rows, passes = of_passes()
    assert rows - rows_before == 320
    assert passes - passes_before < 320, "some passes had both"


def test_a_worker_times_the_stages_of_each_kind_and_counts_pictures_alone(system: System, ports: Ports) -> None:
    def metric(name: str, **labels: str) -> float:
        return samples(ports.worker)[name].get(labelled(**labels), 0)

    before = {model: metric("imagemill_images_total", model=model) for model in ("sim", "")}
    counted = metric("imagemill_stage_seconds_count", model="", stage="count")
    drawn = metric("imagemill_stage_seconds_count", model="sim", stage="draw")
    for body in (SKETCH, COUNT):
        assert system.end_of(post(system, body))["status"] == "succeeded"
    until("the sketch is told", lambda: metric("imagemill_stage_seconds_count", model="sim", stage="draw") > drawn)
    until("the count is told", lambda: metric("imagemill_stage_seconds_count", model="", stage="count") > counted)
    assert metric("imagemill_images_total", model="sim") == before["sim"] + 1
    assert metric("imagemill_images_total", model="") == before[""] == 0
    assert metric("imagemill_attempts_total", model="") > 0
    series = samples(ports.worker)["imagemill_stage_seconds_count"]
    stages = {model: {dict(each)["stage"] for each in series if dict(each)["model"] == model} for model in ("sim", "")}
    assert stages == {
        "sim": {"queued", "encode", "generate", "look", "draw", "postprocess", "upload"},
        "": {"queued", "split", "count", "postprocess", "upload"},
    }


def test_the_api_shows_a_queue_for_each_kind_without_a_model_and_its_workers(system: System, ports: Ports) -> None:
    system.end_of(post(system, COUNT))

    def shown() -> bool:
        metrics = samples(ports.api)
        own = {"queue": "any.count", "model": ""}
        workers = sum(metrics["imagemill_workers"][labelled(**own, state=state)] for state in ("ready", "busy"))
        return workers == 1 and metrics["imagemill_jobs_ended_total"][labelled(**own, status="succeeded")] > 0

    until("both are told", shown)
    for name in NOT_OF_A_QUEUE:
        assert {dict(each)["queue"] for each in samples(ports.api)[name]} == {"gpu.sim", "any.count"}


def test_operators_see_the_queue_pause_it_and_are_told_that_it_has_workers(system: System) -> None:
    assert system.cli("queue", "pause", "count").returncode == 0
    job = post(system, COUNT)
    until("it waits", lambda: system.job(job)["queue_position"] == 1)
    shown = {each["queue"]: each for each in system.http("GET", "/v1/queues").body["data"]}["any.count"]
    assert shown == {"queue": "any.count", "model": None, "waiting": 1, "running": 0, "later": 0, "paused": True}
    findings = {each["check"]: each for each in map(json.loads, system.cli("doctor", "--json").stdout.splitlines())}
    assert "paused" in findings["queue any.count"]["found"]
    assert "no worker" not in findings["queue any.count"]["found"]
    assert system.cli("queue", "resume", "any.count").returncode == 0
    assert system.end_of(job)["status"] == "succeeded"


def test_flower_shows_the_tasks_of_both(system: System) -> None:
    env = {**system.env, "FLOWER_BASIC_AUTH": "a:b"}
    with Flower(system.folder / "flower.db", free_port(), env) as flower:
        flower.wait_until_ready(60)
        until("it sees the worker", lambda: ask_flower(flower, "/api/workers?refresh=1"))
        until("it hears of jobs", lambda: system.end_of(post(system, COUNT)) and ask_flower(flower, "/api/tasks"))
        shown = {
            post(system, SKETCH): "sketch after shared/after.png",
            post(system, COUNT): "count the words of 13 char",
        }
        for job, summary in shown.items():
            until(f"{job} is shown", lambda: _task(flower, job).get("state") == "SUCCESS")  # noqa: B023
            assert _task(flower, job)["args"].startswith(summary)
        queues = ask_flower(flower, "/api/queues/length")["active_queues"]
        assert {"run.sim", "runs.count"} <= {queue["name"] for queue in queues}


def _task(flower: Flower, job: str) -> dict[str, Any]:
    found = ask_flower(flower, f"/api/task/info/{job}")
    return found if isinstance(found, dict) else {}
