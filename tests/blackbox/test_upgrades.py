"""
Versions one after the other: what the older one left is shown, kept, and run.

`tests/data/` has what each left in Redis, with jobs in every state: `tests.blackbox.every_state` writes it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.every_state import NOTES
from tests.blackbox.system import PATIENCE_S, until
from tests.dumps import Dump, restore

DATA = Path(__file__).parents[1] / "data"
OLDER = sorted(path.stem for path in DATA.glob("*.json") if path.stem != "newer")
# The commit that wrote each. What a version ends with is dumped by `every_state`, and its hash added here.
WRITTEN_BY = {"first": "76e3ef0", "0.1.0": "72a0f131a0"}


def golden(name: str) -> Dump:
    """What an older version left in Redis."""
    dumped: Dump = json.loads((DATA / f"{name}.json").read_text("utf-8"))
    return dumped


class Upgraded:
    """A system that finds what an older version left: `notes` say what is what, and how that one showed it."""

    def __init__(self, make_system: MakeSystem, name: str) -> None:
        dumped = golden(name)
        self.notes: dict[str, Any] = json.loads(dumped[NOTES]["value"])
        self.system = make_system(self.notes["models"])
        restore(self.system.redis(), dumped)
        self.system.serve()
        self.key: str = self.notes["key"]

    def id_of(self, role: str) -> str:
        return str(self.notes["jobs"][role]["id"])

    def job(self, role: str) -> dict[str, Any]:
        return self.system.job(self.id_of(role), self.key)

    def end_of(self, role: str) -> dict[str, Any]:
        return self.system.end_of(self.id_of(role), self.key, 2 * PATIENCE_S)

    def batch(self, role: str) -> dict[str, Any]:
        answer = self.system.http("GET", f"/v1/jobs/batches/{self.notes['batches'][role]['id']}", key=self.key)
        assert answer.status == 200, answer.body
        return dict(answer.body)


@pytest.fixture(params=OLDER)
def upgraded(request: pytest.FixtureRequest, make_system: MakeSystem) -> Upgraded:
    return Upgraded(make_system, request.param)


_ELSEWHERE = {"status_url", "events_url", "cancel_url", "images", "queue_position", "starts_in_s"}
_MOVED = {"created_at", "started_at", "ended_at"}
_OF_BATCH = ("status", "counts", "caller")


def test_every_dump_says_which_commit_wrote_it() -> None:
    assert set(OLDER) == set(WRITTEN_BY)


def test_what_an_older_version_left_is_shown_as_it_showed_it(upgraded: Upgraded) -> None:
    listed = upgraded.system.http("GET", "/v1/jobs?limit=100", key=upgraded.key)
    assert listed.status == 200, listed.body
    ids = {job["id"] for job in listed.body["data"]}
    for role, before in upgraded.notes["jobs"].items():
        assert before["id"] in ids, role
        job = upgraded.job(role)
        if before["status"] == "processing":  # Its worker is gone.
            assert job["status"] in ("processing", "queued")
            continue
        kept = {name: value for name, value in before.items() if name not in _ELSEWHERE | _MOVED}
        assert {name: job[name] for name in kept} == kept, role
        pictures = [{**image, "url": "", "thumbnail_url": ""} for image in before["images"]]
        assert [{**image, "url": "", "thumbnail_url": ""} for image in job["images"]] == pictures, role
    for role, before in upgraded.notes["batches"].items():
        batch = upgraded.batch(role)
        assert {name: batch[name] for name in _OF_BATCH} == {name: before[name] for name in _OF_BATCH}, role


def test_what_an_older_version_left_waiting_runs_to_its_end(upgraded: Upgraded) -> None:
    upgraded.system.worker("--model", "sim")
    waiting = [role for role in upgraded.notes["jobs"] if role.startswith("waiting")]
    for role in (*waiting, "processing"):
        job = upgraded.end_of(role)
        assert job["status"] == "succeeded", (role, job["error"])
    until("the batch has ended", lambda: upgraded.batch("waiting")["status"] == "ended")
    assert upgraded.batch("waiting")["counts"]["succeeded"] == 2
    assert upgraded.job("paused")["status"] == "queued"
    replayed = upgraded.system.cli("dead", "replay", upgraded.id_of("canceled"))
    assert replayed.returncode == 0, replayed.stderr


def test_idempotency_keys_of_an_older_version_hold(upgraded: Upgraded) -> None:
    assert len(upgraded.notes["requests"]) >= 6
    for role, request in upgraded.notes["requests"].items():
        headers = {"Idempotency-Key": request["key"]}
        again = upgraded.system.http("POST", "/v1/jobs", request["fields"], upgraded.key, headers)
        assert again.status == 202, (role, again.body)
        assert again.body["id"] == upgraded.id_of(role), role
        other = {**request["fields"], "prompt": "something else"}
        assert upgraded.system.http("POST", "/v1/jobs", other, upgraded.key, headers).status == 409, role


def test_the_dead_the_refused_and_the_results_of_an_older_version_are_there(upgraded: Upgraded) -> None:
    dead = upgraded.system.cli("dead", "list", "--json")
    assert [json.loads(line)["id"] for line in dead.stdout.splitlines()] == [upgraded.id_of("dead")], dead.stderr
    refused = json.loads(upgraded.system.cli("dead", "show", upgraded.notes["celery"]["refused"]).stdout)
    assert (refused["status"], refused["error"]["code"]) == ("failed", "invalid_request")
    assert refused["request"]["colour"] == "red"
    result = upgraded.system.celery().AsyncResult(upgraded.notes["celery"]["sent"]).get(timeout=PATIENCE_S)
    assert result["status"] == "succeeded"
