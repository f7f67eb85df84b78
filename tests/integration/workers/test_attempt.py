"""An attempt from its claim to its end, step by step: a real Redis, a real store that goes away, a simulated device."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from PIL import Image

from jobs import names
from jobs.errors import ErrorCode, Fenced
from jobs.kinds.generate import spec_of
from jobs.kinds.inputs import Input
from jobs.kinds.registry import parse_request, settle
from jobs.process.traces import Traces
from jobs.submit import submission_of
from jobs.table.claim import Claim
from jobs.table.states import Status
from jobs.view import spec_to_run, view_of
from tests.input_pictures import saved
from tests.integration.workers.stores import Store
from workers.attempt import upload
from workers.attempt.attempt import Attempt
from workers.attempt.context import Context
from workers.attempt.errors import Draining, JobLeft
from workers.attempt.making import Making
from workers.attempt.recover import Recovery
from workers.attempt.trace import AttemptTrace
from workers.families.simulated import SimulatedModel, SimulatedRun
from workers.runners.registry import RUNNERS
from workers.runners.runner import MAX_RECORD_DATA_BYTES


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload._put.retry, "stop", lambda _state: True)


def claim_one(context: Context, **fields: Any) -> Claim:
    request = parse_request({"prompt": "a red circle", "model": "sim", "seed": 7, **fields})
    spec = spec_of({"prompt": "a red circle", "model": "sim", "seed": 7, **fields}, context.catalogue)
    submission = submission_of(request, spec, context.catalogue, job_id=str(uuid.uuid4()))
    context.table.submit(submission)
    claim, _ = context.table.claim(submission.job_id, owner=context.name, read=spec_to_run)
    assert claim is not None
    return claim


def kept(context: Context) -> int:
    return context.spool.load.jobs


def wait_in_the_spool(context: Context, store: Store, **fields: Any) -> Attempt:
    """An attempt that made its files while the store was away."""
    store.is_away = True
    attempt = Attempt(claim_one(context, **fields), context)
    assert attempt.step() is None
    assert kept(context) == 1
    return attempt


def test_attempt_with_everything_there_is_over_in_one_step(context: Context) -> None:
    attempt = Attempt(claim_one(context, n=2), context)
    record = attempt.step()
    assert record is not None
    assert (record.status, len(record.artifacts), record.attempts, kept(context)) == (Status.SUCCEEDED, 2, 1, 0)
    assert record.artifacts[1].meta == {"width": 64, "height": 64, "seed": 8}
    assert {"queued", "encode", "generate", "postprocess", "upload", "total"} == record.timings.keys()


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ("x" * MAX_RECORD_DATA_BYTES, f"{MAX_RECORD_DATA_BYTES + 12} bytes"),
        ("ж" * (MAX_RECORD_DATA_BYTES // 6), f"{MAX_RECORD_DATA_BYTES // 6 * 6 + 12} bytes"),  # \u0436, as it is kept
        (datetime(2026, 11, 28, tzinfo=UTC), "not valid JSON"),
    ],
    ids=["long", "not ASCII", "no JSON"],
)
def test_data_that_no_record_takes_fails_its_job(
    context: Context, monkeypatch: pytest.MonkeyPatch, made: Any, reason: str
) -> None:
    monkeypatch.setattr(RUNNERS["generate"], "data", lambda _result, _spec: {"text": made})
    record = Attempt(claim_one(context), context).step()
    assert record is not None
    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error.code == ErrorCode.INVALID_OUTPUT
    assert reason in record.error.message


def an_edit(context: Context, **image: Any) -> Attempt:
    """Claimed; of an object that is red."""
    red = saved(Image.new("RGB", (64, 64), "red"))
    context.store.put("shared/a.png", red, "image/png")
    named = Input(object="shared/a.png", bytes=len(red), width=64, height=64, **image)
    request = parse_request({"kind": "edit", "prompt": "a red circle", "model": "sim", "image": named})
    submission = submission_of(request, settle(request, context.catalogue), context.catalogue, job_id=str(uuid.uuid4()))
    context.table.submit(submission)
    claim, _ = context.table.claim(submission.job_id, owner=context.name, read=spec_to_run)
    assert claim is not None
    return Attempt(claim, context)


def test_time_that_inputs_take_is_told_and_counts(context: Context) -> None:
    record = an_edit(context).step()
    assert record is not None
    assert record.status is Status.SUCCEEDED, record.error
    stages = {name: took_s for name, took_s in record.timings.items() if name != "total"}
    assert stages["inputs"] > 0
    assert record.timings["total"] == pytest.approx(sum(stages.values()), abs=1e-3)


def test_inputs_of_a_job_that_has_begun_leave_room_for_those_of_others(context: Context) -> None:
    claim = an_edit(context).claim
    making = Making(claim, context, AttemptTrace(Traces(), claim, 0.0), {}, lambda: None)
    with making.inputs(lambda _pause_s: pytest.fail("everything is there")):
        read_bytes = context.input_memory.used_bytes
        with context.engine_slots.acquire(alone=False, reason=lambda: None) as engine_slot:
            making.run(engine_slot)
        begun_bytes = context.input_memory.used_bytes
    assert 0 < begun_bytes < RUNNERS["edit"].input_bytes(claim.spec) <= read_bytes
    assert context.input_memory.used_bytes == 0


def test_input_that_is_not_what_was_submitted_fails_its_job(context: Context) -> None:
    record = an_edit(context, sha256="0" * 64).step()
    assert record is not None
    assert record.error is not None
    assert (record.error.code, record.error.message) == (
        ErrorCode.INVALID_INPUT,
        "image: object 'shared/a.png' has changed since the job was submitted",
    )


@pytest.mark.parametrize("is_from_the_spool", [False, True])
def test_what_a_run_warns_of_stands_in_the_record_and_beside_the_files(
    context: Context, own_store: Store, monkeypatch: pytest.MonkeyPatch, is_from_the_spool: bool
) -> None:
    begin = SimulatedModel.begin

    def begin_and_warn(model: SimulatedModel, work: Any, conditioning: None) -> SimulatedRun:
        run = begin(model, work, conditioning)
        run.warnings = ("prompt: cut to 77 tokens",)
        return run

    monkeypatch.setattr(SimulatedModel, "begin", begin_and_warn)
    attempt = wait_in_the_spool(context, own_store) if is_from_the_spool else Attempt(claim_one(context), context)
    own_store.is_away = False
    record = attempt.step()
    assert record is not None
    read = context.table.get(record.id)
    assert record.warnings == read.warnings == view_of(read).warnings == ("prompt: cut to 77 tokens",)
    folder = record.artifacts[0].key.rpartition("/")[0]
    assert json.loads(own_store.get(f"{folder}/job.json"))["warnings"] == ["prompt: cut to 77 tokens"]


def test_value_that_means_something_else_than_it_seems_to_is_warned_of(context: Context) -> None:
    record = Attempt(claim_one(context, guidance_scale=0.5), context).step()
    assert record is not None
    assert record.warnings == ("guidance_scale: 0.5 turns guidance off, as every value up to 1 does",)


def test_what_is_made_waits_for_the_store_and_is_made_once(context: Context, own_store: Store) -> None:
    attempt = wait_in_the_spool(context, own_store)
    assert attempt.step() is None
    own_store.is_away = False
    record = attempt.step()
    assert record is not None
    assert (record.status, record.attempts, kept(context)) == (Status.SUCCEEDED, 1, 0)
    assert own_store.get(record.artifacts[0].key)


@pytest.mark.parametrize("is_from_the_spool", [False, True])
def test_file_that_is_on_its_way_into_the_store_counts_in_memory_and_alone(
    context: Context, own_store: Store, is_from_the_spool: bool
) -> None:
    fields = {"n": 3, "output": {"format": "png", "thumbnail": 32}}
    attempt = wait_in_the_spool(context, own_store, **fields) if is_from_the_spool else None
    own_store.is_away = False
    sent: list[int] = []
    counted: list[int] = []

    def note(body: bytes) -> None:
        sent.append(len(body))
        counted.append(context.memory.used_bytes)

    own_store.on_put = note
    record = (attempt or Attempt(claim_one(context, **fields), context)).step()
    assert record is not None
    assert record.status is Status.SUCCEEDED
    sizes = [sum(sent[at : at + 2]) for at in (0, 2, 4)]  # Each with its thumbnail; job.json is the last.
    assert counted == [size for size in sizes for _ in range(2)] + [0]


def test_files_that_the_store_does_not_take_leave_no_memory_taken(context: Context, own_store: Store) -> None:
    wait_in_the_spool(context, own_store, n=2)
    assert context.memory.used_bytes == 0


@pytest.mark.parametrize("status", [Status.CANCELED, Status.EXPIRED])
def test_job_that_is_to_leave_while_it_waits_ends_and_leaves_no_files(
    context: Context, own_store: Store, status: Status
) -> None:
    attempt = wait_in_the_spool(context, own_store)
    attempt.leave(JobLeft(status))
    record = attempt.step()
    assert record is not None
    assert (record.status, record.artifacts, kept(context)) == (status, (), 0)


def test_worker_that_stops_gives_the_job_back_and_keeps_the_files(context: Context, own_store: Store) -> None:
    attempt = wait_in_the_spool(context, own_store)
    attempt.leave(Draining("the worker stops"))
    with pytest.raises(Draining):
        attempt.step()
    record = context.table.get(attempt.claim.job_id)
    assert (record.status, record.attempts, kept(context)) == (Status.QUEUED, 0, 1)


def test_job_that_another_attempt_owns_is_left_alone(
    context: Context, own_store: Store, redis_client: redis.Redis
) -> None:
    attempt = wait_in_the_spool(context, own_store)
    redis_client.hset(names.job_key(attempt.claim.job_id), "token", "another")
    own_store.is_away = False
    with pytest.raises(Fenced):
        attempt.step()
    assert kept(context) == 0
    assert context.table.get(attempt.claim.job_id).status is Status.PROCESSING


def test_files_that_are_lost_cost_another_run_and_not_the_job(context: Context, own_store: Store) -> None:
    attempt = wait_in_the_spool(context, own_store)
    for file in (context.spool._folder).rglob("*.body"):
        file.unlink()
    own_store.is_away = False
    with pytest.raises(Draining):
        attempt.step()
    record = context.table.get(attempt.claim.job_id)
    assert (record.status, record.attempts, kept(context)) == (Status.QUEUED, 0, 0)


def test_end_that_cannot_be_written_is_written_later(context: Context, redis_client: redis.Redis) -> None:
    attempt = Attempt(claim_one(context), context)
    redis_client.execute_command("ACL", "SETUSER", "default", "-evalsha", "-eval")  # type: ignore[no-untyped-call]
    try:
        assert attempt.step() is None
        assert attempt.step() is None
    finally:
        redis_client.execute_command("ACL", "SETUSER", "default", "+evalsha", "+eval")  # type: ignore[no-untyped-call]
    record = attempt.step()
    assert record is not None
    assert (record.status, len(record.artifacts)) == (Status.SUCCEEDED, 1)


def test_next_process_stores_what_an_attempt_left(context: Context, own_store: Store) -> None:
    left = [wait_in_the_spool(context, own_store)]
    left[0].leave(Draining("the worker stops"))
    with pytest.raises(Draining):
        left[0].step()
    own_store.is_away = False
    Recovery(context).run()
    record = context.table.get(left[0].claim.job_id)
    assert (record.status, record.attempts, kept(context)) == (Status.SUCCEEDED, 0, 0)
    assert context.leases.held() == []


def test_files_that_were_left_are_taken_by_the_jobs_next_attempt(context: Context, own_store: Store) -> None:
    first = wait_in_the_spool(context, own_store)
    first.leave(Draining("the worker stops"))
    with pytest.raises(Draining):
        first.step()
    (spooled,) = context.spool.left_over()
    context.spool.leave(spooled)
    own_store.is_away = False
    claim, _ = context.table.claim(first.claim.job_id, owner=context.name, read=spec_to_run)
    assert claim is not None
    record = Attempt(claim, context).step()
    assert record is not None
    assert (record.status, record.attempts, kept(context)) == (Status.SUCCEEDED, 0, 0)
