"""Versions side by side: what a newer one wrote is shown as far as it is known, and run by no worker by guess."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import System, simulated, until
from tests.dumps import restore

NEWER = Path(__file__).parents[1] / "data" / "newer.json"  # made by hand


def copy_as_newer(client: redis.Redis, job_id: str, **changed: Any) -> str:
    """A copy of a job's record and its lists, changed as a newer version may have it; its id."""
    record = {str(name): str(value) for name, value in client.hgetall(f"imagemill:job:{job_id}").items()}
    spec = json.loads(record["spec"]) | changed.pop("spec", {})
    newer: dict[str, Any] = {**record, "spec": json.dumps(spec), **changed}
    copy = f"{job_id}-{len(set(client.scan_iter('imagemill:job:*')))}"
    for name, value in newer.items():
        client.hset(f"imagemill:job:{copy}", name, value)
    for jobs in ("imagemill:jobs", f"imagemill:jobs:{record['caller']}"):
        client.zadd(jobs, {copy: 1_000_000 + client.zcard(jobs)})
    return copy


CHANGED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "stage": ({"status": "processing", "stage": "upscale", "step": "3", "steps": "4"}, {"stage": "upscale", "step": 3}),
    "status": ({"status": "dreaming", "ended_at": ""}, {"status": "dreaming"}),
    "error": (
        {"status": "failed", "images": "[]", "error": '{"code": "too_pretty", "message": "it is too pretty", "x": 1}'},
        {"status": "failed", "error": {"code": "too_pretty", "message": "it is too pretty"}},
    ),
    "timings": ({"timings": '{"upscale": 2.5, "total": 3.0}'}, {"timings": {"upscale": 2.5, "total": 3.0}}),
    "schema": ({"schema": "99", "kind": "generate"}, {"status": "succeeded"}),
    "no specification": ({"spec": {"width": {"of": "the original"}}}, {"status": "succeeded", "parameters": None}),
}
PARAMETERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "priority": ({"priority": "urgent"}, {"priority": "urgent"}),
    "output format": ({"output": {"format": "avif"}}, {"output": {"format": "avif"}}),
    "field": ({"strength": 0.5}, {"n": 1}),
    "field of output": ({"output": {"format": "webp", "dpi": 300}}, {"output": {"format": "webp", "dpi": 300}}),
    "value": ({"n": "as many as it takes"}, {"n": "as many as it takes"}),
}


@pytest.fixture
def served(make_system: MakeSystem) -> Iterator[tuple[System, str]]:
    """A system with a job that has succeeded."""
    system = make_system(simulated())
    system.worker()
    system.serve()
    yield system, system.end_of(system.submit())["id"]


def shown(job: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """What a job shows of what is expected."""
    return {name: job[name] for name in expected}


def test_records_of_a_newer_version_are_shown_as_far_as_they_are_known(served: tuple[System, str]) -> None:
    system, job_id = served
    client = system.redis()
    expected: dict[str, dict[str, Any]] = {}
    for fields, seen in CHANGED.values():
        expected[copy_as_newer(client, job_id, **fields)] = seen
    wanted = {copy_as_newer(client, job_id, spec=spec): seen for spec, seen in PARAMETERS.values()}
    damaged = copy_as_newer(client, job_id, images="{broken")
    images = json.loads(client.hget(f"imagemill:job:{job_id}", "images") or "[]")
    deeper = copy_as_newer(client, job_id, images=json.dumps([each | {"depth": 16} for each in images]))

    listed = system.http("GET", "/v1/jobs?limit=100")
    assert listed.status == 200, listed.body
    jobs = {job["id"]: job for job in listed.body["data"]}
    assert set(jobs) == {job_id, deeper, *expected, *wanted}
    for each, seen in expected.items():
        assert shown(jobs[each], seen) == shown(system.job(each), seen) == seen
    for each, seen in wanted.items():
        assert shown(system.job(each)["parameters"], seen) == seen
    assert shown(system.job(deeper)["images"][0], {"sha256": 0}) == {"sha256": images[0]["sha256"]}

    alone = system.http("GET", f"/v1/jobs/{damaged}")
    assert (alone.status, alone.body["error"]["code"]) == (500, "record_unreadable")
    assert "images" in alone.body["error"]["message"]
    assert system.http("GET", "/v1/jobs?status=bogus").status == 422

    client.zadd("imagemill:dead", dict.fromkeys((*expected, *wanted, deeper, damaged), 1e12))
    for command in (("dead", "list"), *(("status", each) for each in list(expected)[:3])):
        done = system.cli(*command)
        assert done.returncode == 0, (command, done.stderr)
    done = system.cli("dead", "list", "--json")
    assert {job["id"]: job["status"] for job in map(json.loads, done.stdout.splitlines())} == {
        each: jobs[each]["status"] for each in jobs if each != job_id
    }
    done = system.cli("status", damaged)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith("imagemill: this version cannot read the record")
    assert "Traceback" not in done.stderr


def test_a_key_sees_nothing_of_a_damaged_record_that_is_not_its_own(served: tuple[System, str]) -> None:
    system, job_id = served
    key = system.key("blog")
    damaged = copy_as_newer(system.redis(), job_id, images="{broken")
    assert system.http("GET", f"/v1/jobs/{damaged}", key=key).status == 404


def test_events_of_a_newer_version_reach_who_listens(served: tuple[System, str]) -> None:
    system, job_id = served
    client = system.redis()
    newer = copy_as_newer(client, job_id, status="dreaming", ended_at="")
    stream = f"imagemill:events:{newer}"
    client.xadd(stream, {"type": "dream", "data": '{"depth": 2}'})
    client.xadd(stream, {"type": "progress", "data": '{"stage": "upscale", "tile": 3}'})
    client.xadd(stream, {"type": "completed", "data": '{"status": "dreamt"}'})
    done = system.cli("events", newer)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["dream", "progress", "completed"]
    answer = system.http("GET", f"/v1/jobs/{newer}/events")
    assert answer.status == 200
    waited = system.cli("wait", job_id)
    assert waited.returncode == 0, waited.stderr


def test_lists_of_an_operator_show_what_newer_processes_wrote(served: tuple[System, str]) -> None:
    system, _ = served
    client = system.redis()
    for name, report in {
        "worker@newer": '{"name": "worker@newer", "state": "dreaming", "models": ["sim"], "jobs": [{"id": 1}]}',
        "worker@damaged": "{broken",
    }.items():
        client.sadd("imagemill:workers", name)
        client.set(f"imagemill:worker:{name}", report)
    client.hset("imagemill:figures:gpu.sim", mapping={"pace": "0.25"})
    workers = system.cli("workers", "--json")
    assert workers.returncode == 0, workers.stderr
    assert {"worker@newer": "dreaming"}.items() <= {
        each["name"]: each["state"] for each in map(json.loads, workers.stdout.splitlines())
    }.items()
    for path in ("/v1/models", "/v1/queues", "/ready"):
        assert system.http("GET", path).status == 200, path


def test_batch_with_a_job_of_a_newer_version_is_shown_whole(served: tuple[System, str]) -> None:
    system, _ = served
    lines = [{"prompt": "a red circle", "custom_id": str(number)} for number in range(3)]
    made = system.http("POST", "/v1/jobs/batch", lines)
    assert made.status == 200
    batch = made.headers["location"].rpartition("/")[2]
    path = f"/v1/jobs/batches/{batch}"
    until("the batch has ended", lambda: system.http("GET", path).body["status"] == "ended")
    client = system.redis()
    first, second, _ = (str(each) for each in client.zrange(f"imagemill:batch_jobs:{batch}", 0, -1))
    client.hset(f"imagemill:job:{first}", "status", "dreaming")
    client.hset(f"imagemill:job:{second}", "timings", "{broken")
    client.hincrby(f"imagemill:batch:{batch}", "succeeded", -1)
    client.hincrby(f"imagemill:batch:{batch}", "dreaming", 1)
    shown_batch = system.http("GET", path).body
    assert (shown_batch["status"], shown_batch["counts"]["total"]) == ("in_progress", 3)
    assert shown_batch["counts"]["succeeded"] == 2
    results = system.http("GET", f"{path}/results")
    assert results.status == 200
    assert [(line["line"], line["job"]["status"]) for line in results.body] == [(1, "dreaming"), (3, "succeeded")]


def test_job_that_no_worker_understands_fails_with_a_sentence_and_stops_no_other(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    system.serve()
    client = system.redis()
    newer, other = system.submit(), system.submit()
    spec = json.loads(client.hget(f"imagemill:job:{newer}", "spec") or "{}")
    client.hset(f"imagemill:job:{newer}", "spec", json.dumps(spec | {"output": {"format": "avif"}}))
    worker = system.worker()
    assert system.end_of(other)["status"] == "succeeded"
    failed = system.end_of(newer)
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == "invalid_request"
    assert "output.format" in failed["error"]["message"]
    assert not worker.printed("Traceback")


def test_records_newer_than_any_reader_are_shown(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    restore(system.redis(), json.loads(NEWER.read_text("utf-8")))
    system.serve()
    listed = system.http("GET", "/v1/jobs?limit=100")
    assert listed.status == 200, listed.body
    jobs = {job["id"]: job for job in listed.body["data"]}
    assert set(jobs) == {"newer-upscaling", "newer-dreaming", "newer-caption", "newer-request"}
    upscaling, dreaming, caption, request = (
        jobs[f"newer-{each}"] for each in ("upscaling", "dreaming", "caption", "request")
    )
    assert (upscaling["status"], upscaling["stage"], upscaling["step"]) == ("processing", "upscale", 3)
    assert (upscaling["parameters"]["priority"], upscaling["parameters"]["output"]["format"]) == ("urgent", "avif")
    assert (dreaming["status"], dreaming["timings"]) == ("dreaming", {"encode": 0.01, "dream": 4.5})
    assert (caption["status"], caption["parameters"], caption["images"]) == ("succeeded", None, [])
    assert caption["error"] is None
    assert request["error"] == {"code": "too_pretty", "message": "the picture would be too pretty"}
    damaged = system.http("GET", "/v1/jobs/newer-damaged")
    assert (damaged.status, damaged.body["error"]["code"]) == (500, "record_unreadable")
    workers = system.cli("workers", "--json")
    assert [json.loads(line)["state"] for line in workers.stdout.splitlines()] == ["dreaming"], workers.stderr
