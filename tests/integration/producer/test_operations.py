"""The operator's commands: queues, the dead, workers; exit codes and JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import redis

from jobs import names
from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from producer import Client, Job
from tests.claims import claim_job
from tests.integration.producer.commands import Run, lines

QUEUE = "gpu.shapes-flow"
WELL: dict[str, list[str]] = {"detached": [], "troubles": []}


def submit(client: Client, count: int) -> list[Job]:
    return client.submit_many({"prompt": "a red circle"} for _ in range(count))


@pytest.fixture
def dead(client: Client, table: JobTable, redis_client: redis.Redis) -> Job:
    (job,) = submit(client, 1)
    error = {"code": "worker_lost", "message": "the worker died or was lost 3 times while it ran this job"}
    table.finish(claim_job(table, job.id), Status.FAILED, error=error)
    redis_client.zadd(names.DEAD, {job.id: job.status().ended_at or 0})
    return job


@pytest.mark.parametrize("name", [QUEUE, "shapes-flow"])
def test_queue_is_paused_and_resumed_by_its_name_or_its_models(run: Run, client: Client, name: str) -> None:
    submit(client, 1)
    assert lines(run("queue", "pause", name, "--json")) == [{"queue": QUEUE, "paused": True}]
    assert client.queues()[0].is_paused
    assert "paused" in run("queue", "list").stdout
    assert lines(run("queue", "list", "--json"))[0]["paused"] is True
    assert "is resumed" in run("queue", "resume", name).stdout
    assert not client.queues()[0].is_paused


@pytest.mark.parametrize("command", [("pause",), ("resume",), ("purge", "--yes")])
def test_queue_that_is_none_is_bad_input(run: Run, command: tuple[str, ...]) -> None:
    result = run("queue", command[0], "no-such-queue", *command[1:])
    assert result.exit_code == 2
    assert "there is no queue 'no-such-queue'; the queues are gpu.shapes" in result.stderr


def test_queue_that_never_had_a_job_can_be_purged(run: Run) -> None:
    assert lines(run("queue", "purge", "shapes-flow", "--json")) == [{"queue": QUEUE, "canceled": 0}]


def test_purge_asks_first_and_no_is_no(run: Run, client: Client) -> None:
    jobs = submit(client, 3)
    result = run("queue", "purge", QUEUE, typed="n\n")
    assert result.exit_code == 1
    assert "Cancel 3 jobs of gpu.shapes-flow?" in result.stderr
    assert {job.status().status for job in jobs} == {Status.QUEUED}
    assert run("queue", "purge", QUEUE, typed="y\n").exit_code == 0
    assert {job.status().status for job in jobs} == {Status.CANCELED}


def test_purge_without_anybody_to_ask_does_nothing(run: Run, client: Client) -> None:
    (job,) = submit(client, 1)
    assert run("queue", "purge", QUEUE).exit_code == 1
    assert job.status().status is Status.QUEUED


def test_question_is_no_part_of_the_json(run: Run, client: Client) -> None:
    submit(client, 2)
    result = run("queue", "purge", QUEUE, "--json", typed="y\n")
    _, last = result.stdout.splitlines()  # The first is the terminal's echo of what was typed.
    assert json.loads(last) == {"queue": QUEUE, "canceled": 2}
    assert "Cancel 2 jobs" in result.stderr


def test_purge_leaves_running_jobs_and_cancel_all_does_not(
    run: Run, client: Client, table: JobTable, redis_client: redis.Redis
) -> None:
    running, waiting = submit(client, 2)
    claim_job(table, running.id)
    assert lines(run("queue", "purge", QUEUE, "--yes", "--json")) == [{"queue": QUEUE, "canceled": 1}]
    assert waiting.status().status is Status.CANCELED
    assert redis_client.hget(names.job_key(running.id), "cancel") is None
    assert lines(run("cancel", "--all", "--queue", QUEUE, "--yes", "--json")) == [{"queue": QUEUE, "canceled": 1}]
    assert redis_client.hget(names.job_key(running.id), "cancel") == "1"


@pytest.mark.parametrize(
    "args", [[], ["--all"], ["--queue", QUEUE], ["a-job", "--all", "--queue", QUEUE], ["a-job", "--queue", QUEUE]]
)
def test_cancel_wants_a_job_or_a_whole_queue(run: Run, args: list[str]) -> None:
    result = run("cancel", *args)
    assert result.exit_code == 2
    assert "give a job id, or --all with --queue" in result.stderr


def test_dead_are_listed_with_why(run: Run, dead: Job) -> None:
    assert [each["id"] for each in lines(run("dead", "list", "--json"))] == [dead.id]
    assert "lost 3 times" in " ".join(run("dead", "list").stdout.split()) or dead.id[:8] in run("dead", "list").stdout


def test_dead_job_is_shown_as_json(run: Run, dead: Job) -> None:
    (shown,) = lines(run("dead", "show", dead.id))
    assert (shown["id"], shown["error"]["code"]) == (dead.id, "worker_lost")


def test_dead_job_is_replayed(run: Run, dead: Job) -> None:
    (record,) = lines(run("dead", "replay", dead.id, "--json"))
    assert (record["id"], record["status"]) == (dead.id, "queued")
    assert lines(run("dead", "list", "--json")) == []
    again = run("dead", "replay", dead.id)
    assert again.exit_code == 2
    assert "is queued; only a job that ended without images can be replayed" in again.stderr


def test_dead_job_is_dropped_once(run: Run, dead: Job) -> None:
    assert lines(run("dead", "drop", dead.id, "--json")) == [{"id": dead.id, "dropped": True}]
    assert run("dead", "drop", dead.id).exit_code == 2
    assert dead.status().status is Status.FAILED


@pytest.mark.parametrize("command", ["show", "replay"])
def test_job_that_is_not_there_is_not_found(run: Run, command: str) -> None:
    assert run("dead", command, "no-such-job").exit_code == 5


def test_workers_are_listed_with_what_they_do(run: Run, redis_client: redis.Redis, settings: Settings) -> None:
    assert lines(run("workers", "--json")) == []
    report = WorkerReport(name="worker@here", state="busy", models=("shapes-flow",), jobs=("a", "b", "c", "d"), slots=6)
    card = {"device": "GPU 1: NVIDIA L4", "device_memory_gb": 24.1}
    Fleet(redis_client, settings).report(replace(report, **card, left_out=("large",)))  # type: ignore[arg-type]
    (shown,) = lines(run("workers", "--json"))
    own = {"name": "worker@here", "state": "busy", "models": ["shapes-flow"], "jobs": ["a", "b", "c", "d"]}
    assert shown == {**own, **card, "loaded": ["shapes-flow"], "left_out": ["large"], "not_loaded": {}, **WELL}
    assert "busy" in run("workers").stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_messages_that_no_worker_takes_are_told_beside_the_workers(
    run: Run, redis_client: redis.Redis, options: list[str]
) -> None:
    redis_client.lpush("gpu.nope", "a message")
    redis_client.lpush(QUEUE, *(["a message"] * 1_200))
    redis_client.set(names.LISTS, json.dumps(["gpu.nope"]))
    told = run("workers", *options)
    assert "1 message waits in gpu.nope, and no worker receives from it" in told.stderr
    assert f"1,200 messages wait in {QUEUE}, and no worker receives from it" in told.stderr
    assert "stand" not in told.stdout


@pytest.mark.parametrize("command", [["workers"], ["dead", "list"], ["queue", "pause", QUEUE]])
def test_redis_that_is_away_is_exit_code_3(run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("IMAGEMILL_REDIS_URL", "redis://127.0.0.1:1/0")
    result = run(*command, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["error"]["code"] == "RedisUnavailable"


def test_kept_jobs_are_shown_by_caller_and_ended_ones_dropped(run: Run, client: Client, table: JobTable) -> None:
    goes, stays = submit(client, 2)
    goes.cancel()
    (before,) = lines(run("jobs", "kept", "--json"))
    assert before["caller"] == "default"
    assert before["bytes"] > 0
    assert "default" in run("jobs", "kept").stdout
    (done,) = lines(run("jobs", "drop", "--caller", "default", "--status", "failed", "--json"))
    assert done == {"caller": "default", "dropped": 0}
    assert lines(run("jobs", "drop", "--caller", "default", "--older-than", "1", "--json"))[0]["dropped"] == 0
    assert lines(run("jobs", "drop", "--caller", "another", "--json"))[0]["dropped"] == 0
    assert lines(run("jobs", "drop", "--caller", "default", "--json"))[0]["dropped"] == 1
    assert table.statuses([goes.id, stays.id]) == [None, Status.QUEUED]
    (after,) = lines(run("jobs", "kept", "--json"))
    assert after["bytes"] < before["bytes"]


def test_drop_of_what_is_no_end_is_refused(run: Run) -> None:
    refused = run("jobs", "drop", "--caller", "default", "--status", "queued")
    assert refused.exit_code == 2
    assert (
        "status: 'queued' is not the status of an ended job; use one of succeeded, failed, canceled, expired"
        in refused.output
    )
