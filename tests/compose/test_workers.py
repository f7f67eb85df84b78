"""Many workers of one stack: they share, one may be killed, and `down` and `up` keep what was made."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from ops.process import wait_until
from tests.compose.conftest import Compose, docker

pytestmark = pytest.mark.timeout(1800)

PROMPT = "a yellow star on a black background"
JOBS, LEAST_SHARE = 60, 10
PATIENCE_S = 900  # Three workers on two cores: jobs that lost theirs run alone, one after the other, a minute each.


@pytest.fixture(scope="module")
def three(stack: Compose) -> Compose:
    """The stack with three workers."""
    stack.up("--no-build", "--scale", "worker=3")
    return stack


def test_three_workers_share_sixty_jobs(three: Compose) -> None:
    assert {name.rpartition("-")[0] for name in three.workers()} == {
        f"worker@{three.name}-worker-{number}" for number in (1, 2, 3)
    }
    job_ids = three.submit(JOBS, prompt=PROMPT, num_inference_steps=30)
    assert {job["status"] for job in three.ended(job_ids, PATIENCE_S)} == {"succeeded"}
    counted = shares(three, job_ids)
    assert sum(counted.values()) == JOBS
    assert len(counted) == 3
    assert min(counted.values()) >= LEAST_SHARE, counted


def test_killed_worker_loses_nothing(three: Compose) -> None:
    job_ids = three.submit(30, prompt=PROMPT, num_inference_steps=100)
    victim = three.containers("worker")[0]
    name = f"worker@{victim['Name'].lstrip('/')}"

    def held() -> list[str]:
        return [job for worker, jobs in three.workers().items() if worker.rpartition("-")[0] == name for job in jobs]

    assert wait_until(lambda: any(is_under_way(three, job_id) for job_id in held()), 60)
    lost = held()
    docker("kill", victim["Id"])
    jobs = {job["id"]: job for job in three.ended(job_ids, PATIENCE_S)}
    assert {job["status"] for job in jobs.values()} == {"succeeded"}
    assert all(len(job["images"]) == 1 for job in jobs.values())
    assert max(jobs[job_id]["attempts"] for job_id in lost) > 1  # Begun there, and made elsewhere.


def test_down_and_up_keeps_jobs_and_images(stack: Compose) -> None:
    job = stack.ended(stack.submit(1, prompt=PROMPT, n=2), PATIENCE_S)[0]
    files = [digest(stack, image) for image in job["images"]]
    stack.run("down")
    stack.up("--no-build")
    again = stack.ask(f"/v1/jobs/{job['id']}")
    assert again == job
    assert [digest(stack, image) for image in again["images"]] == files == [each["sha256"] for each in job["images"]]
    assert stack.ended(stack.submit(1, prompt=PROMPT), PATIENCE_S)[0]["status"] == "succeeded"


def is_under_way(stack: Compose, job_id: str) -> bool:
    job = stack.ask(f"/v1/jobs/{job_id}")
    return bool(job["status"] == "processing" and job["step"] > 0)


def shares(stack: Compose, job_ids: list[str]) -> dict[str, int]:
    """How many of these jobs each worker ended, as its log says."""
    ended: dict[str, set[str]] = {}
    for line in stack.run("logs", "--no-color", "worker").splitlines():
        worker, _, text = line.partition("|")
        if "job ended" in text:
            ended.setdefault(worker.strip(), set()).update(job_id for job_id in job_ids if job_id in text)
    return {worker: len(found) for worker, found in ended.items()}


def digest(stack: Compose, image: dict[str, Any]) -> str:
    return hashlib.sha256(stack.ask(image["url"], raw=True)).hexdigest()
