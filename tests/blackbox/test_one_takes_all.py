"""What one caller asks for costs himself, not everybody."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import System, simulated, until

# A second or so for each file, on a quiet core.
LARGE: dict[str, Any] = {"output": {"format": "webp", "resize": {"width": 2048, "height": 2048}}}
HUGE: dict[str, Any] = {"n": 16, "output": {"format": "webp", "resize": {"width": 8192, "height": 8192}}}
FILES = ("postprocess", "upload")


@pytest.fixture
def system(make_system: MakeSystem) -> System:
    system = make_system(simulated(row_s=0.001), {"IMAGEMILL_LEASE_S": "4"})
    system.serve()
    return system


def in_files(system: System, job: str) -> None:
    until("its pictures become files", lambda: system.job(job).get("stage") in FILES)


def test_outputs_without_bound_are_refused_at_every_door(system: System) -> None:
    system.worker()
    refused = system.http("POST", "/v1/jobs", {"prompt": "a circle", **HUGE})
    assert (refused.status, refused.body["error"]["field"]) == (422, "output.resize")
    many = {**HUGE, "output": {"resize": {"width": 4096, "height": 4096}}}
    refused = system.http("POST", "/v1/jobs", {"prompt": "a circle", **many})
    assert (refused.status, refused.body["error"]["field"]) == (422, "n")
    file = system.folder / "jobs.jsonl"
    file.write_text('{"prompt": "a circle", "output": {"resize": {"width": 8192, "height": 8192}}}\n')
    done = system.cli("submit", "--file", str(file))
    assert done.returncode == 2
    assert "output.resize" in done.stderr
    task = system.celery().send_task("imagemill.generate", kwargs={"prompt": "a circle", **HUGE}, queue="gpu.sim")
    error = system.end_of(task.id)["error"]
    assert error["code"] == "invalid_request"
    assert "output.resize" in error["message"]


def test_largest_outputs_that_a_model_says_are_made(system: System) -> None:
    system.worker()
    (model,) = system.http("GET", "/v1/models").body["data"]
    assert model["limits"]["max_output_pixels"] == 4096 * 4096
    assert model["limits"]["max_job_output_pixels"] == 4 * 4096 * 4096
    job = system.submit(n=4, output={"format": "jpeg", "resize": {"width": 4096, "height": 4096}})
    ended = system.end_of(job)
    assert [image["width"] for image in ended["images"]] == [4096] * 4


def deadline_in_files(system: System) -> float:
    """Seconds after which a large job of many files has made a few, as fast as this machine is."""
    timings = system.end_of(system.submit(n=4, **LARGE))["timings"]
    return float(timings["total"])


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_job_leaves_between_two_of_its_files(system: System, how: str) -> None:
    """Another one of half as many files, submitted later, would end first if the rest were made."""
    system.worker()
    deadline: dict[str, Any] = {"deadline": deadline_in_files(system)} if how == "deadline" else {}
    leaving = system.submit(n=16, **LARGE, **deadline)
    in_files(system, leaving)
    if how == "cancel":
        system.http("DELETE", f"/v1/jobs/{leaving}")
    other = system.submit(n=8, **LARGE)
    left, made = system.end_of(leaving), system.end_of(other)
    assert (left["status"], made["status"]) == ("canceled" if how == "cancel" else "expired", "succeeded")
    assert left["ended_at"] < made["ended_at"]


def test_a_worker_stops_between_two_files(system: System) -> None:
    """Its job is made by another one, which stood still until then."""
    stopping, other = system.worker(env={"IMAGEMILL_WORKER_GRACE_S": "0.2"}), system.worker()
    os.killpg(other.pid or 0, signal.SIGSTOP)
    job = system.submit(n=16, **LARGE)
    in_files(system, job)
    os.kill(stopping.pid or 0, signal.SIGTERM)
    os.killpg(other.pid or 0, signal.SIGCONT)
    assert stopping.wait_for_exit() == 0
    assert not stopping.printed(f"job ended .*{job}"), "it has made all the files"
    assert system.end_of(job)["status"] == "succeeded"
    until("the other one says so", lambda: other.printed(f"job ended .*{job}"))


def test_small_outputs_pass_large_ones(system: System) -> None:
    """Where the memory for files is full of large ones, a small one of somebody else still is made."""
    system.worker(env={"IMAGEMILL_WORKER_POSTPROCESS_MIB": "200"})
    large = [system.submit(n=16, **LARGE) for _ in range(3)]
    in_files(system, large[-1])
    small = system.end_of(system.submit())
    assert small["status"] == "succeeded"
    assert {system.job(job)["status"] for job in large} == {"processing"}
    for job in large:
        system.http("DELETE", f"/v1/jobs/{job}")
