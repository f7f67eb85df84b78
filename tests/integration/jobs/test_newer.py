"""What a newer version wrote, or nobody: it costs the records beside it nothing, and no worker runs it by guess."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import redis

from jobs import names
from jobs.broker.dispatch import Dispatcher
from jobs.errors import ErrorCode, RecordUnreadable
from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.process.settings import Settings
from jobs.table import events
from jobs.table.batches import Batches
from jobs.table.figures import FigureReader
from jobs.table.states import Status
from jobs.table.submission import BatchLine
from jobs.table.table import JobTable
from jobs.view import spec_to_run, view_of
from tests.integration.jobs.steps import QUEUE, MakeJob, claim, submit


def write(client: redis.Redis, job_id: str, **changed: str) -> None:
    for name, value in changed.items():
        client.hset(names.job_key(job_id), name, value)


def respecify(client: redis.Redis, job_id: str, **changed: Any) -> None:
    spec = json.loads(client.hget(names.job_key(job_id), "spec") or "{}")
    write(client, job_id, spec=json.dumps(spec | changed))


def test_record_that_cannot_be_read_costs_no_other_of_a_list(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    first, damaged, newer = submit(table, a_job(), a_job(), a_job())
    write(redis_client, damaged, spec="{broken")
    write(redis_client, newer, status="dreaming", stage="upscale", schema="9")
    listed, _ = table.list_jobs()
    assert [(each.id, each.status) for each in listed] == [(newer, "dreaming"), (first, Status.QUEUED)]
    assert table.statuses([first, damaged, newer, "none"]) == ["queued", "queued", "dreaming", None]
    with pytest.raises(RecordUnreadable, match=damaged):
        table.get(damaged)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"strength": 0.5}, "strength: unknown field"),
        ({"output": {"format": "avif"}}, "output.format: should be 'png', 'jpeg' or 'webp'"),
        ({"width": "wide"}, "width: should be a valid integer"),
    ],
)
def test_job_that_a_worker_does_not_understand_fails_with_a_sentence(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, changed: dict[str, Any], reason: str
) -> None:
    job_id, other = submit(table, a_job(), a_job())
    respecify(redis_client, job_id, **changed)
    assert table.claim(job_id, owner="a worker", read=spec_to_run)[0] is None
    record = table.get(job_id)
    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error.code == ErrorCode.INVALID_REQUEST
    assert record.error.message.endswith(f": {reason}")
    assert claim(table, other).job_id == other


def test_job_whose_record_is_damaged_fails_and_is_not_handed_out_again(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    (job_id,) = submit(table, a_job())
    write(redis_client, job_id, spec="{broken")
    assert table.claim(job_id, owner="a worker")[0] is None
    assert table.statuses([job_id]) == [Status.FAILED]
    assert table.claim(job_id, owner="a worker") == (None, [])


def test_job_of_a_newer_schema_is_left_for_a_newer_worker(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    (job_id,) = submit(table, a_job())
    respecify(redis_client, job_id, width="wide")
    write(redis_client, job_id, schema=str(names.SCHEMA_VERSION + 1))
    assert table.claim(job_id, owner="a worker") == (None, [])
    assert table.statuses([job_id]) == [Status.QUEUED]


def test_stored_job_says_nothing_of_what_it_makes_no_use_of(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    """So the worker of the version before understands it, whatever fields there are."""
    (job_id,) = submit(table, a_job(output={"format": "webp"}))
    spec = json.loads(redis_client.hget(names.job_key(job_id), "spec") or "{}")
    settled = {"model", "width", "height", "num_inference_steps", "guidance_scale", "scheduler"}
    assert set(spec) == {"prompt", "seed", "output", *settled}
    assert spec["output"] == {"format": "webp"}
    assert view_of(table.get(job_id)).spec == a_job(output={"format": "webp"}).spec


def test_job_of_an_unknown_status_is_counted_in_its_batch_and_goes_on(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, dispatcher: Dispatcher, settings: Settings
) -> None:
    batches = Batches(redis_client, table, dispatcher.offer, settings)
    batches.open("b", "default")
    job_ids = submit(table, *[replace(a_job(), batch=BatchLine(batch_id="b", line=line)) for line in range(2)])
    for job_id in job_ids:
        table.cancel(job_id)
    assert batches.get("b").has_ended
    redis_client.hincrby(names.batch_key("b"), "canceled", -1)
    redis_client.hincrby(names.batch_key("b"), "dreaming", 1)
    write(redis_client, job_ids[0], status="dreaming")
    record = batches.get("b")
    assert (record.total, record.others, record.counts[Status.CANCELED], record.has_ended) == (2, 1, 1, False)
    assert [each.status for _, each in batches.records("b")[0]] == ["dreaming", "canceled"]


def test_cancel_tells_a_status_that_it_does_not_know(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    (job_id,) = submit(table, a_job())
    write(redis_client, job_id, status="dreaming")
    assert table.cancel(job_id) == ("dreaming", [])


def test_reports_of_workers_are_read_as_far_as_they_are_understood(
    redis_client: redis.Redis, settings: Settings
) -> None:
    written = {
        "damaged": "{broken",
        "listed": "[]",
        "newer": json.dumps({"name": "newer", "state": "dreaming", "models": ["sim"], "jobs": [{"id": "a"}], "x": 1}),
        "ours": json.dumps({"name": "ours", "state": "ready", "slots": 4}),
    }
    for name, report in written.items():
        redis_client.sadd(names.WORKERS, name)
        redis_client.set(names.worker_key(name), report)
    assert Fleet(redis_client, settings).workers() == [
        WorkerReport(name="newer", state="dreaming", models=("sim",), known_schema=1, reads_lines=False),
        WorkerReport(name="ours", state="ready", slots=4, known_schema=1, reads_lines=False),
    ]


def test_events_of_a_newer_version_are_passed_on(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, settings: Settings
) -> None:
    (job_id,) = submit(table, a_job())
    key = names.events_key(job_id)
    redis_client.xadd(key, {"type": "dream", "data": '{"depth": 2}'})
    redis_client.xadd(key, {"type": "progress", "data": '{"stage": "upscale", "tile": 3}'})
    redis_client.xadd(key, {"type": "progress", "data": "{broken"})
    redis_client.xadd(key, {"of": "another kind"})
    table.cancel(job_id)
    told = list(events.follow(redis_client, settings, job_id, timeout_s=10))
    assert [(each.type, each.data) for each in told] == [
        ("dream", {"depth": 2}),
        ("progress", {"stage": "upscale", "tile": 3}),
        ("progress", {}),
        ("", {}),
        ("completed", {"status": "canceled"}),
    ]
    assert [events.progress_in(each) for each in told[1:3]] == [("upscale", 0, 0), ("", 0, 0)]


def test_figures_of_a_newer_version_leave_ours(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, settings: Settings
) -> None:
    submit(table, a_job())
    redis_client.hset(names.figures_key(QUEUE), mapping={"pace": "0.25", "failed:too_pretty": 3})
    (queue,) = FigureReader(redis_client, settings).read().queues
    assert (queue.submitted, queue.failed) == (1, {"too_pretty": 3})
