"""What holds for pictures when something dies holds for both kinds: here one system is broken, again and again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.system import START_S, Command, System, until
from tests.kinds.asking import COUNT, INPUT, SKETCH, is_running, post
from tests.kinds.conftest import a_system
from tests.processes import children_of

ENV = {"IMAGEMILL_LEASE_S": "4", "IMAGEMILL_MAX_ATTEMPTS": "2", "IMAGEMILL_WORKER_GRACE_S": "1"}
WHILE_IT_RUNS = {**SKETCH, "draw_steps": 400}
WORDS = 30
RESTARTS_S = 2 * START_S  # A worker's process starts again, twice, before such a job ends.

pytestmark = pytest.mark.timeout(4 * START_S)


@pytest.fixture(autouse=True)
def no_thread_left() -> None:
    """One system for all of these: what a test starts anew stands until the last has ended, and somebody reads it."""


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[System]:
    with a_system(tmp_path_factory.mktemp("broken"), cache_dir, ENV) as system:
        system.serve()
        yield system


@pytest.fixture(scope="module")
def worker(broken: System) -> Command:
    """One for all, for each start takes a while; the last test stops it."""
    return broken.worker()


def spooled(system: System) -> int:
    return len(list((system.folder / "spool").glob("*/images/[!.]*")))


def kill(worker: Command) -> None:
    """SIGKILL the process that runs jobs; its parent starts another."""
    (child,) = children_of(worker.pid or 0)
    os.kill(child, signal.SIGKILL)


def restart_store(system: System) -> None:
    system.s3_server.start()
    system.s3_server.wait_until_ready()


def check_ends(system: System, sketch: str, count: str, words: int) -> None:
    drawn, counted = (system.end_of(job, deadline_s=RESTARTS_S) for job in (sketch, count))
    assert (drawn["status"], drawn["data"]) == ("succeeded", {"after_bytes": len(INPUT)}), drawn
    assert [each["name"] for each in drawn["artifacts"]] == ["outline"]
    assert len(drawn["images"]) == 1
    assert (counted["status"], counted["data"]) == ("succeeded", {"words": words}), counted
    for job, names in ((sketch, ["0.png", "1.json", "job.json"]), (count, ["job.json"])):
        assert [path.name for path in system.objects(job)] == names, "it is stored once, whole"


def test_a_worker_that_does_not_know_a_kind_says_so_and_leaves_what_is_in_its_queue(
    broken: System, request: pytest.FixtureRequest
) -> None:
    older = broken.worker(env={"WITHOUT": "sketch,count"})
    sketch, count = post(broken, SKETCH), post(broken, COUNT)
    ended = broken.end_of(sketch)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "invalid_request")
    assert "a newer one may, if it is replayed: kind: there is no kind 'sketch'" in ended["error"]["message"]
    assert broken.job(count)["status"] == "queued"
    older.stop()
    request.getfixturevalue("worker")
    assert broken.cli("dead", "replay", sketch).returncode == 0
    check_ends(broken, sketch, count, 3)


def test_a_job_waits_for_a_store_that_is_away_when_it_is_to_fetch(broken: System, worker: Command) -> None:
    later = {**SKETCH, "start_after": 3}
    waiting, unwanted = post(broken, later), post(broken, later)
    broken.s3_server.stop()
    until("both wait for their input", lambda: worker.printed("waits for its input") >= 2)
    broken.http("DELETE", f"/v1/jobs/{unwanted}")
    assert broken.end_of(unwanted)["status"] == "canceled"
    restart_store(broken)
    ended = broken.end_of(waiting)
    assert (ended["status"], ended["attempts"]) == ("succeeded", 1)


def test_jobs_whose_worker_is_killed_run_again_and_end_once(broken: System, worker: Command) -> None:
    sketch = post(broken, WHILE_IT_RUNS)
    count = post(broken, {**COUNT, "text": "word " * WORDS, "word_s": 0.1})
    until("both run", lambda: is_running(broken, sketch) and is_running(broken, count))
    kill(worker)
    check_ends(broken, sketch, count, WORDS)
    assert [broken.job(job)["attempts"] for job in (sketch, count)] == [2, 2]


def test_a_job_that_kills_its_workers_is_dead_until_it_is_replayed(broken: System, worker: Command) -> None:
    poison = Path(broken.env["COUNT_POISON"])
    poison.touch()
    job = post(broken, {**COUNT, "text": "one poison three"})
    ended = broken.end_of(job, deadline_s=RESTARTS_S)
    assert (ended["status"], ended["error"]["code"], ended["attempts"]) == ("failed", "worker_lost", 2)
    (dead,) = map(json.loads, broken.cli("dead", "list", "--json").stdout.splitlines())
    assert (dead["id"], dead["kind"], dead["queue"]) == (job, "count", "any.count")
    poison.unlink()
    assert broken.cli("dead", "replay", job).returncode == 0
    assert broken.end_of(job, deadline_s=RESTARTS_S)["data"] == {"words": 3}
    assert worker.exit_code is None
    assert broken.cli("dead", "list", "--json").stdout == ""


def test_what_was_made_waits_for_the_store_over_a_restart_of_its_worker(broken: System, worker: Command) -> None:
    sketch = post(broken, WHILE_IT_RUNS)
    until("it has its input, and runs", lambda: is_running(broken, sketch))
    broken.s3_server.stop()
    count = post(broken, COUNT)
    until("both wait on disk", lambda: spooled(broken) == 2)
    os.kill(worker.pid or 0, signal.SIGTERM)
    assert worker.wait_for_exit() == 0
    assert {broken.job(job)["status"] for job in (sketch, count)} == {"queued"}
    restart_store(broken)
    after = broken.worker()
    check_ends(broken, sketch, count, 3)
    until("both are said to be stored: they were not made again", lambda: after.printed("stored what waited") == 2)
