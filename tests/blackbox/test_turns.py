"""Whose job begins next: `priority` orders the jobs of one caller, and moves nobody before another caller's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import System, simulated, until

QUEUE = "gpu.sim"
BACKLOG, WINDOW, AT_ONCE = 20, 2, 1
PROMPT = "a red circle on a blue background"
# What may begin before a job that came last: what all others have in the line, and what the worker has in hand.
MOST_BEFORE = WINDOW + AT_ONCE

Submit = Callable[[System, str, str], list[str]]


def a_system(make_system: MakeSystem) -> System:
    return make_system(simulated(row_s=0.02), {"IMAGEMILL_RELEASE_WINDOW": str(WINDOW)})


def begun_at(system: System, key: str, job_ids: Sequence[str]) -> list[float]:
    """When each began, when all have ended."""
    return [float(system.end_of(job_id, key)["started_at"]) for job_id in job_ids]


def one_by_one(system: System, key: str, priority: str) -> list[str]:
    return [system.submit(key, model="sim", priority=priority) for _ in range(BACKLOG)]


def as_a_batch(system: System, key: str, priority: str) -> list[str]:
    lines = [{"prompt": PROMPT, "model": "sim", "priority": priority} for _ in range(BACKLOG)]
    answer = system.http("POST", "/v1/jobs/batch", lines, key)
    assert answer.status == 200, f"{answer.status} {answer.body}"
    return [str(each["id"]) for each in answer.body]


def as_a_file(system: System, key: str, priority: str) -> list[str]:
    """As the caller that the key is named after."""
    file = system.folder / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": PROMPT, "model": "sim"}) + "\n" for _ in range(BACKLOG)), "utf-8")
    options = ("--priority", priority, "--caller", "many", "--detach", "--json")
    done = system.cli("submit", "--file", str(file), *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]


def again_after_a_cancel(system: System, key: str, priority: str) -> list[str]:
    assert system.cli("queue", "pause", QUEUE).returncode == 0  # So that there are no messages of the first time.
    job_ids = [system.submit(key, model="sim", priority=priority) for _ in range(2 * MOST_BEFORE)]
    for job_id in job_ids:
        assert system.http("DELETE", f"/v1/jobs/{job_id}", key=key).body["status"] == "canceled"
    assert system.cli("queue", "resume", QUEUE).returncode == 0
    for job_id in job_ids:
        assert system.cli("dead", "replay", job_id).returncode == 0
    return job_ids


WAYS_IN = [one_by_one, as_a_batch, as_a_file, again_after_a_cancel]


@pytest.mark.parametrize("submit", WAYS_IN, ids=lambda way: way.__name__)
def test_high_jobs_of_one_key_do_not_keep_another_keys_normal_job(make_system: MakeSystem, submit: Submit) -> None:
    system = a_system(make_system)
    many, one = system.key("many"), system.key("one")
    system.serve()
    backlog = submit(system, many, "high")
    job = system.submit(one, model="sim")
    system.worker("--concurrency", str(AT_ONCE))
    began = begun_at(system, one, [job])[0]
    before = sum(each < began for each in begun_at(system, many, backlog))
    assert before <= MOST_BEFORE, f"{before} of {len(backlog)} high jobs of another key began before it"


def test_low_job_does_not_wait_for_the_later_normal_jobs_of_others(make_system: MakeSystem) -> None:
    system = a_system(make_system)
    many, one = system.key("many"), system.key("one")
    system.serve()
    job = system.submit(one, model="sim", priority="low")
    backlog = one_by_one(system, many, "normal")
    system.worker("--concurrency", str(AT_ONCE))
    began = begun_at(system, one, [job])[0]
    before = sum(each < began for each in begun_at(system, many, backlog))
    assert before <= MOST_BEFORE, f"{before} of {len(backlog)} later jobs of another key began before it"


@pytest.mark.parametrize("window", [WINDOW, BACKLOG * 2], ids=["released and waiting", "all released"])
def test_high_job_is_the_next_of_its_own_key(make_system: MakeSystem, window: int) -> None:
    system = make_system(simulated(row_s=0.02), {"IMAGEMILL_RELEASE_WINDOW": str(window)})
    many = system.key("many")
    system.serve()
    backlog = one_by_one(system, many, "normal")
    system.worker("--concurrency", str(AT_ONCE))
    until("the first has begun", lambda: system.job(backlog[0], many)["started_at"])
    high = system.end_of(system.submit(many, model="sim", priority="high"), many)
    began = begun_at(system, many, backlog)
    meanwhile = sum(high["created_at"] < each < high["started_at"] for each in began)
    assert meanwhile <= AT_ONCE, f"{meanwhile} of the key's own normal jobs began after it was there and before it did"
    assert any(each > high["started_at"] for each in began)


def test_position_of_a_job_does_not_promise_what_its_priority_does_not_give(make_system: MakeSystem) -> None:
    system = a_system(make_system)
    many, one = system.key("many"), system.key("one")
    system.serve()
    for _ in range(WINDOW):
        system.submit(many, model="sim")
    own = system.submit(one, model="sim")
    high = system.submit(one, model="sim", priority="high")
    assert system.job(high, one)["queue_position"] == WINDOW + 1  # Its caller has had no turn.
    assert system.job(own, one)["queue_position"] == WINDOW + 2
    asked = {"prompt": PROMPT, "model": "sim", "priority": "high"}
    new = system.http("POST", "/v1/jobs?dry_run=true", asked, system.key("another")).body
    assert new["queue_position"] == WINDOW + 1  # Whoever has had no turn is the next.
