"""What goes through the Lua scripts, on a real server: names that both sides build, texts that are opaque to Lua."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs import names
from jobs.broker.reconcile import Reconciled, Reconciler
from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.scripts.fields import FIELDS, PREFIXES
from jobs.scripts.limits import limits_of
from jobs.scripts.preamble import spelled
from jobs.scripts.scripts import arguments, as_mapping
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import QUEUE, MakeJob, claim, let_lease_run_out, submit

LARGEST = 2**63 - 1
PARTS = ("gpu.a-model", "größer ☃ 'caller' \\ \x01")
TEXTS = {
    "numbers": f'{{"seed":{LARGEST},"small":-0.1,"exact":0.30000000000000004}}',
    "empty": '{"list":[],"object":{},"text":"","null":null}',
    "nested": '{"a":[{"b":[[],{},[{"c":{}}]]}]}',
    "spaced": '{ "a" : [ ] }\n',
    "unicode": '{"prompt":"größer ☃ 𝄞 \u2028 \ufeff"}',
    "escaped": '{"prompt":"\\u00e9 \\ud834\\udd1e \\\\ \\" \\/"}',
    "control": '{"prompt":"\x00\x01\x1f\x7f\t\r\n"}',
    "long": json.dumps({"prompt": "a red circle ☃ " * 200_000}),
    "none": "",
}


@pytest.fixture
def raw(settings: Settings) -> Iterator[redis.Redis]:
    """Answers as bytes."""
    with redis.Redis.from_url(settings.redis_url) as client:
        yield client


def test_python_and_lua_build_the_same_names(raw: redis.Redis) -> None:
    assert names.waiting_key("a", "b") == "imagemill:waiting:a:b"
    for each in names.REDIS_NAMES:
        parts = PARTS[: len(each.parts)]
        expression = f"{'channel' if each.is_channel else 'key'}.{each.lua}"
        if parts:
            expression += f"({', '.join(f'ARGV[{at}]' for at, _ in enumerate(parts, 1))})"
        assert raw.eval(f"return {spelled(expression)}", 0, *parts) == each.build(*parts).encode()


def submit_text(table: JobTable, job_id: str, encoded: bytes, text: str) -> None:
    args: dict[str, Any] = json.loads(encoded) | {"job_id": job_id, "spec": text}
    table._scripts.run("submit", **args)


def go_through(table: JobTable, raw: redis.Redis, settings: Settings, a_job: MakeJob, text: str) -> None:
    """One job whose texts are all this one, from its submission to its replay."""
    limits = limits_of(settings)
    job_id, encoded = table.encode(a_job())
    key = names.job_key(job_id)
    submit_text(table, job_id, encoded, text)
    assert raw.hget(key, "spec") == text.encode()
    for token in ("first", "second"):
        args = {"job_id": job_id, "token": token}
        _, _, fields = table._scripts.run("claim", owner="a worker", lease_s=8, gives_way=False, **args, **limits)
        assert as_mapping(fields)["spec"] == text
        assert table._scripts.run("begin", **args, stage=text) == "go"
        assert raw.hget(key, "stage") == text.encode()
        if token == "first":
            assert table._scripts.run("give_back", **args, **limits) == ["given_back", f'["{job_id}"]']
            assert raw.hget(key, "spec") == text.encode()
    made = {"artifacts": text, "timings": text, "error": text, "data": text, "warnings": text}
    outcome, fields = table._scripts.run("finish", status="failed", error_code="x", **args, **made, **limits)
    assert outcome == "done"
    assert raw.hget(key, "spec") == text.encode()
    for name in ("images", "timings", "error", "data", "warnings"):
        assert as_mapping(fields)[name] == text
        assert raw.hget(key, name) == text.encode()
    _, _, fields = table._scripts.run("replay", job_id=job_id, nonce="a nonce", **limits)
    assert as_mapping(fields)["spec"] == text
    assert raw.hget(key, "spec") == text.encode()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_is_opaque_comes_back_as_it_went(
    table: JobTable, raw: redis.Redis, settings: Settings, a_job: MakeJob, text: str
) -> None:
    go_through(table, raw, settings, a_job, text)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_as_it_went(
    redis_client: redis.Redis, raw: redis.Redis, settings: Settings, a_job: MakeJob, text: str
) -> None:
    wide = settings.model_copy(update={"release_window": 1_000})  # What it leaves of each text stays in the line.
    go_through(JobTable(redis_client, wide), raw, wide, a_job, text)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_is_opaque_outlives_lost_workers_and_deadlines(
    table: JobTable, raw: redis.Redis, reconciler: Reconciler, redis_client: redis.Redis, a_job: MakeJob, text: str
) -> None:
    job_id, encoded = table.encode(a_job())
    submit_text(table, job_id, encoded, text)
    args = {"job_id": job_id, "token": "a token", "owner": "a worker"}
    table._scripts.run("claim", lease_s=8, gives_way=False, **args, **limits_of(Settings()))
    let_lease_run_out(redis_client, job_id)
    assert reconciler.run_once() == Reconciled(requeued=1)
    redis_client.hset(names.job_key(job_id), "end_by", 1)
    redis_client.zadd(names.DEADLINES, {job_id: 1.0})
    assert reconciler.run_once() == Reconciled(expired=1)
    assert raw.hget(names.job_key(job_id), "spec") == text.encode()


def test_rejected_request_is_kept_as_it_came(table: JobTable, raw: redis.Redis) -> None:
    for at, text in enumerate(TEXTS.values()):
        args = {"job_id": f"job-{at}", "request": text, "queue": QUEUE, "caller": "celery"}
        table._scripts.run("reject", error=text, error_code="invalid_request", retention_s=60, **args)
        assert raw.hmget(names.job_key(f"job-{at}"), "request", "error") == [text.encode()] * 2


def test_largest_seed_is_the_same_at_every_station(
    table: JobTable, control: QueueControl, redis_client: redis.Redis, reconciler: Reconciler, a_job: MakeJob
) -> None:
    (job_id,) = submit(table, a_job(seed=LARGEST, metadata={}))
    first = claim(table, job_id)
    assert first.spec["seed"] == LARGEST
    table.begin(first, Stage.ENCODE)
    let_lease_run_out(redis_client, job_id)
    assert (reconciler.run_once() or pytest.fail()).requeued == 1
    table.give_back(claim(table, job_id))
    again = claim(table, job_id)
    image = {"key": "a", "content_type": "image/png", "width": 8, "height": 8, "bytes": LARGEST, "sha256": "0"}
    made, why = [image | {"seed": LARGEST}], {"code": "x", "message": "☃"}
    record = table.finish(again, Status.FAILED, artifacts=made, data={"seed": LARGEST, "none": []}, error=why)
    assert record.data == {"seed": LARGEST, "none": []}
    assert (record.artifacts[0].meta["seed"], record.artifacts[0].bytes) == (LARGEST, LARGEST)
    assert control.replay(job_id).payload == again.spec == first.spec


def test_lists_of_released_jobs_stay_lists(
    narrow: JobTable, control: QueueControl, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    def following(job_id: str) -> str | None:
        return cast("str | None", redis_client.hget(names.job_key(job_id), "next"))

    first, second, third = submit(narrow, a_job(), a_job(), a_job())
    assert following(second) == f'["{second}"]'
    claimed = claim(narrow, first)
    assert following(first) == f'["{third}"]'
    claim(narrow, second)
    assert following(second) == "[]"
    narrow.cancel(third)
    assert following(third) == "[]"
    narrow.finish(claimed, Status.FAILED)
    control.replay(first)
    assert following(first) == f'["{first}"]'


def test_records_have_the_declared_fields_and_no_others(
    table: JobTable, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    told = replace(a_job(deadline=60, idempotency_key="k"), notifications={"somebody": {"where": "there"}})
    (job_id,) = submit(table, told)
    claimed = claim(table, job_id)
    table.begin(claimed, Stage.ENCODE)
    table.progress(claimed, Stage.GENERATE, 1, 2)
    table.finish(claimed, Status.SUCCEEDED)
    found = cast("dict[str, str]", redis_client.hgetall(names.job_key(job_id)))
    others = set(found) - set(FIELDS)
    assert others == {f"charge:{claimed.token}", "tell:somebody"}
    assert {each.partition(":")[0] + ":" for each in others} == set(PREFIXES)


def test_encoded_submission_is_nothing_to_the_garbage_collector(table: JobTable, a_job: MakeJob) -> None:
    encoded = table.encode(a_job(metadata={"a": "b"}, idempotency_key="k"))
    assert gc.is_tracked(encoded)  # As every tuple, until the collector has seen that it holds nothing but text.
    gc.collect()
    assert not gc.is_tracked(encoded)


def test_what_is_none_is_no_argument() -> None:
    assert json.loads(arguments(a=None, b="", c=0, d=False, e=[], f="☃\x00")) == {
        "b": "",
        "c": 0,
        "d": False,
        "e": [],
        "f": "☃\x00",
    }
