"""Callers share a device: none waits behind another's backlog, whatever its door and however large its jobs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import System, simulated, until

PROMPT = "a red circle on a blue background"
QUEUE = "gpu.sim"
SLOTS = 2
LINE = 8  # Of unclaimed messages, with so few slots.
BACKLOG = 1  # Turns of who has had some, after so many first jobs in a row as the line takes: docs/architecture.md.


@pytest.fixture
def system(make_system: MakeSystem) -> System:
    system = make_system(simulated(row_s=0.02))
    system.serve()
    return system


def by_celery(system: System) -> None:
    """While the worker's slots are taken, from somebody who knows nothing of ours."""
    app = system.celery()
    for _ in range(60):
        app.send_task("imagemill.generate", kwargs={"prompt": PROMPT}, queue=QUEUE)


def by_a_hundred_callers(system: System) -> None:
    lines = [{"prompt": PROMPT, "caller": f"caller-{number % 100}", "priority": "high"} for number in range(300)]
    assert system.http("POST", "/v1/jobs/batch", lines).status == 200


def by_large_jobs(system: System) -> None:
    lines = [{"prompt": PROMPT, "caller": "large", "n": 4, "num_inference_steps": 10} for _ in range(40)]
    assert system.http("POST", "/v1/jobs/batch", lines).status == 200


@pytest.mark.parametrize("flood", [by_celery, by_a_hundred_callers, by_large_jobs], ids=lambda each: each.__name__)
def test_first_job_waits_for_what_was_released_before_it(system: System, flood: Callable[[System], None]) -> None:
    system.worker("--concurrency", str(SLOTS))
    flood(system)
    until("more wait than the line takes", lambda: waiting(system) > 2 * LINE)
    own = system.submit(model="sim", caller="one", priority="low")
    job = system.end_of(own)
    others = begun(system)
    before = [at for caller, at in others if caller != "one" and job["created_at"] < at < job["started_at"]]
    assert len(before) <= LINE + BACKLOG, f"{len(before)} jobs of others began while it waited"
    assert system.cli("cancel", "--all", "--queue", QUEUE, "--yes").returncode == 0


def test_heavy_key_gets_twice_as_much(system: System) -> None:
    keys = {"heavy": system.key("heavy", "--weight", "2"), "light": system.key("light")}
    jobs = {
        name: [system.submit(key, model="sim", num_inference_steps=1) for _ in range(60)] for name, key in keys.items()
    }
    system.worker("--concurrency", str(SLOTS))
    for name, key in keys.items():
        for job_id in jobs[name]:
            system.end_of(job_id, key)
    order = [
        name
        for _, name in sorted(
            (system.job(job_id, keys[name])["started_at"], name) for name in keys for job_id in jobs[name]
        )
    ]
    first = order[LINE : LINE + 60]  # Behind what was in the line before the other came.
    assert 36 <= first.count("heavy") <= 44


def test_waiting_job_is_moved_before_the_others_of_its_key(system: System) -> None:
    key, other = system.key("one"), system.key("other")
    jobs = [system.submit(key, model="sim") for _ in range(LINE + 4)]
    answer = system.http("PATCH", f"/v1/jobs/{jobs[-1]}", {"position": "front"}, key)
    assert (answer.status, answer.body["queue_position"]) == (200, 1)
    assert system.http("PATCH", f"/v1/jobs/{jobs[-1]}", {"position": "front"}, other).status == 404
    done = system.cli("reprioritize", jobs[-2], "--priority", "low", "--json")
    assert done.returncode == 0, done.stderr
    system.worker("--concurrency", "1")
    began = {job_id: system.end_of(job_id, key)["started_at"] for job_id in jobs}
    in_order = sorted(jobs, key=lambda job_id: float(began[job_id]))
    assert (in_order[0], in_order[-1]) == (jobs[-1], jobs[-2])
    assert system.http("PATCH", f"/v1/jobs/{jobs[0]}", {"priority": "high"}, key).status == 409


def waiting(system: System) -> int:
    (queue,) = [each for each in system.http("GET", "/v1/queues").body["data"] if each["queue"] == QUEUE] or [None]
    return int(queue["waiting"]) if queue else 0


def begun(system: System) -> list[tuple[str, float]]:
    """Callers of jobs that have begun, and when."""
    found, cursor = [], ""
    while True:
        page = system.http("GET", f"/v1/jobs?limit=100{cursor}").body
        found += [(each["caller"], float(each["started_at"])) for each in page["data"] if each["started_at"]]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"
