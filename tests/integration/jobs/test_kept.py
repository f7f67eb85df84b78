"""What a caller's jobs take of Redis is counted from the first to the last, and has a bound that is his own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.errors import InvalidRequest, JobNotFound, TooMuchKept
from jobs.process.settings import Settings
from jobs.table.batches import Batches
from jobs.table.outbox import Outbox
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.submission import BatchLine, Submission
from jobs.table.table import JobTable
from ops.servers import RedisServer
from tests.integration.jobs.steps import QUEUE, MakeJob, claim, submit

MIB = 1 << 20
ENDED = 2**21  # As in lib/kept.lua: what has a greater score has ended.
LONG = {
    "prompt": "\N{LARGE RED CIRCLE}" * 2_500,
    "negative_prompt": "\N{LARGE RED CIRCLE}" * 2_500,
    "guidance_scale": 3.0,
}  # 20 KiB of a record


@pytest.fixture
def bounded(connection: redis.Redis, settings: Settings) -> JobTable:
    """A caller's jobs may take one MiB."""
    return JobTable(connection, settings.model_copy(update={"max_kept_mib": 1}))


def there(table: JobTable, job_ids: list[str]) -> list[bool]:
    return [status is not None for status in table.statuses(job_ids)]


def let_expire(client: redis.Redis, job_id: str, caller: str = "default") -> None:
    """As if the job had ended long ago."""
    client.delete(names.job_key(job_id), names.events_key(job_id))
    client.zadd(names.EXPIRING, {f"{job_id} {caller}": 1.0}, xx=True)


def scores(client: redis.Redis) -> dict[str, float]:
    """Of all that is counted of the caller."""
    found = cast("list[tuple[str, float]]", client.zrange(names.kept_key("default"), 0, -1, withscores=True))
    return dict(found)


def open_units(client: redis.Redis, *job_ids: str) -> int:
    """What is counted of jobs that go on."""
    return sum(int(client.hget(names.job_key(each), "kept") or 0) for each in job_ids)


def is_sum_of(client: redis.Redis, *go_on: str) -> bool:
    """Whether the caller's sum is that of its entries, and of these jobs."""
    units = open_units(client, *go_on) + sum(int(score) % ENDED for score in scores(client).values())
    return bool(client.hget(names.KEPT_UNITS, "default") == str(units))


def let_time_pass(client: redis.Redis) -> None:
    """As if what has ended had done so a minute before."""
    for entry, score in scores(client).items():
        if score > ENDED:
            client.zadd(names.kept_key("default"), {entry: score - 60 * ENDED})


def run(table: JobTable, job: Submission, is_read: bool, sends: int) -> None:
    """From its submission to its end, with so many events `data`."""
    (job_id,) = submit(table, job)
    held = claim(table, job_id)
    table.begin(held, "encode")
    if is_read:
        table.watch([job_id])
    for step in range(100 if is_read else 0):
        table.progress(held, "generate", step, 100)
    for _ in range(sends):
        table.send(held, {"text": "x" * 300})
    table.finish(held, Status.SUCCEEDED, data={"text": "y" * 2_000}, timings={"encode": 0.1})


def test_what_is_counted_is_about_what_the_jobs_take(tmp_path: Path, a_job: MakeJob) -> None:
    with RedisServer(tmp_path) as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        table = JobTable(client, Settings(redis_url=server.url))
        submit(table, a_job(caller="another"))  # What there is once.
        before = client.info("memory")["used_memory"]
        ids = submit(table, *(a_job(idempotency_key=f"key-{n}", **(LONG if n % 2 else {})) for n in range(1_000)))
        counted, used = table.kept()["default"], client.info("memory")["used_memory"] - before
        assert 0.7 < counted / used < 1.4
        table.cancel_many(ids[::-1])
        counted, used = table.kept()["default"], client.info("memory")["used_memory"] - before
        assert 0.7 < counted / used < 1.4


@pytest.mark.parametrize(("is_read", "sends"), [(False, 0), (True, 0), (False, 40)])
def test_what_is_counted_of_jobs_that_ran_is_about_what_they_take(
    tmp_path: Path, a_job: MakeJob, is_read: bool, sends: int
) -> None:
    with RedisServer(tmp_path) as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        table = JobTable(client, Settings(redis_url=server.url, release_window=1_000))
        run(table, a_job(caller="another"), is_read, sends)  # What there is once, scripts among them.
        before = client.info("memory")["used_memory"]
        for _ in range(60):
            run(table, a_job(), is_read, sends)
        used = client.info("memory")["used_memory"] - before
        assert 0.7 < table.kept()["default"] / used < 1.4


def test_job_counts_from_its_submission_until_its_record_expires(
    narrow: JobTable, redis_client: redis.Redis, reconciler: Reconciler, a_job: MakeJob
) -> None:
    goes, stays = submit(narrow, a_job(), a_job())
    both = narrow.kept()["default"]
    narrow.cancel(goes)
    assert narrow.kept()["default"] >= both
    let_expire(redis_client, goes)
    reconciler.run_once()
    assert 0 < narrow.kept()["default"] < both
    assert scores(redis_client) == {}
    assert is_sum_of(redis_client, stays)
    narrow.cancel(stays)
    let_expire(redis_client, stays)
    reconciler.run_once()
    assert narrow.kept() == {}
    assert not redis_client.exists(names.kept_key("default"))


def test_caller_who_submits_and_cancels_takes_no_more_than_he_may(
    bounded: JobTable, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    others = submit(bounded, a_job(caller="another"))
    bounded.cancel(others[0])
    ids = []
    for number in range(75):
        if number == 20:
            let_time_pass(redis_client)
        (job_id,) = submit(bounded, a_job(idempotency_key=f"key-{number}", **LONG))
        bounded.cancel(job_id)
        ids.append(job_id)
        assert bounded.kept()["default"] < 1.1 * MIB
    are_there = there(bounded, ids)
    assert not any(are_there[:20])
    assert 30 < are_there.count(True) < 56
    assert there(bounded, others) == [True]
    assert not redis_client.exists(names.idempotency_key("default", "key-0"))
    gone = ids[0]
    assert [key for key in redis_client.scan_iter("imagemill:*") if gone in key] == []
    for key in (names.JOBS, names.jobs_key("default"), names.EXPIRING):
        assert not any(gone in each for each in redis_client.zrange(key, 0, -1))
    with pytest.raises(JobNotFound):
        bounded.get(gone)


def test_jobs_that_go_on_are_never_dropped_and_the_next_is_refused(
    bounded: JobTable, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    (ended,) = submit(bounded, a_job())
    bounded.cancel(ended)
    submitted = bounded.submit_many([a_job(**LONG) for _ in range(75)])
    refused = [each for each in submitted if each.refused]
    assert 20 < len(refused) < 60
    assert {type(each.refused) for each in refused} == {TooMuchKept}
    assert "the jobs of default have reached their limit of 1 MiB" in str(refused[0].refused)
    assert there(bounded, [each.job_id for each in submitted]) == [each.refused is None for each in submitted]
    assert there(bounded, [ended]) == [False]
    assert is_sum_of(redis_client, *(each.job_id for each in submitted if each.refused is None))
    before = set(redis_client.scan_iter("imagemill:*"))
    with pytest.raises(TooMuchKept):
        bounded.submit(a_job(idempotency_key="a key", **LONG))
    assert set(redis_client.scan_iter("imagemill:*")) == before
    assert bounded.submit(a_job(caller="another", **LONG)).refused is None
    assert bounded.submit(replace(a_job(**LONG), max_kept_mib=2)).refused is None  # As its key says.


def test_message_that_stands_in_redis_already_is_not_refused(bounded: JobTable, a_job: MakeJob) -> None:
    submitted = bounded.adopt([a_job(tag=f"tag-{number}", **LONG) for number in range(75)])
    assert [each.refused for each in submitted] == [None] * 75


def test_refused_messages_make_room_for_each_other(bounded: JobTable) -> None:
    long = {f"key-{n}": "x" * 400 for n in range(40)}
    for number in range(100):
        bounded.reject(f"wrong-{number}", request=long, queue=QUEUE, error=InvalidRequest("n", "is 0"))
        assert bounded.kept()["celery"] < 1.1 * MIB
    assert there(bounded, ["wrong-0", "wrong-99"]) == [False, True]


def test_batches_without_jobs_make_room_for_each_other(
    bounded: JobTable, connection: redis.Redis, redis_client: redis.Redis, settings: Settings, a_job: MakeJob
) -> None:
    batches = Batches(connection, bounded, lambda _: None, settings)
    for number in range(110):
        if number == 20:
            let_time_pass(redis_client)
        batches.open(f"batch-{number}", "default", [100_000])  # 12 KiB of bits
        submit(bounded, a_job())
    assert bounded.kept()["default"] < 1.1 * MIB
    found = [bool(redis_client.exists(names.batch_key(f"batch-{number}"))) for number in range(110)]
    assert not any(found[:20])
    assert 10 < found.count(True) < 90
    assert redis_client.keys(names.batch_refused_key("batch-0")) == []


def test_batch_counts_as_what_goes_on_while_a_job_of_it_does(
    narrow: JobTable,
    connection: redis.Redis,
    redis_client: redis.Redis,
    settings: Settings,
    reconciler: Reconciler,
    a_job: MakeJob,
) -> None:
    batches = Batches(connection, narrow, lambda _: None, settings)
    batches.open("a-batch", "default")

    def has_ended() -> bool:
        score = scores(redis_client).get("batch:a-batch", 0)
        is_to_expire = redis_client.zscore(names.EXPIRING, "batch:a-batch default") is not None
        assert (score > ENDED) == is_to_expire
        return is_to_expire

    assert has_ended()
    (job_id,) = submit(narrow, replace(a_job(), batch=BatchLine(batch_id="a-batch", line=1)))
    assert not has_ended()
    narrow.cancel(job_id)
    assert has_ended()
    redis_client.delete(names.batch_key("a-batch"))
    redis_client.zadd(names.EXPIRING, {"batch:a-batch default": 1.0}, xx=True)
    reconciler.run_once()
    assert redis_client.zscore(names.kept_key("default"), "batch:a-batch") is None


def test_replayed_job_goes_on_and_is_not_dropped(
    bounded: JobTable, control: QueueControl, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    (again,) = submit(bounded, a_job())
    bounded.cancel(again)
    control.replay(again)
    assert scores(redis_client) == {}
    assert is_sum_of(redis_client, again)
    for _ in range(75):
        bounded.cancel(*submit(bounded, a_job(**LONG)))
    assert bounded.get(again).status is Status.QUEUED


def test_job_that_an_earlier_version_replayed_is_not_dropped(
    bounded: JobTable, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    (again,) = submit(bounded, a_job())
    redis_client.zadd(names.kept_key("default"), {again: ENDED + open_units(redis_client, again)})
    for _ in range(75):
        bounded.cancel(*submit(bounded, a_job(**LONG)))
    assert bounded.get(again).status is Status.QUEUED
    assert again not in scores(redis_client)
    assert is_sum_of(redis_client, again)


def test_end_of_a_job_that_an_earlier_version_replayed_counts_once(
    narrow: JobTable, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    (again,) = submit(narrow, a_job())
    units = open_units(redis_client, again) + 30
    redis_client.zadd(names.kept_key("default"), {again: ENDED + units})  # As of its first end.
    redis_client.hset(names.KEPT_UNITS, "default", units)
    narrow.cancel(again)
    assert scores(redis_client)[again] > ENDED + units
    assert is_sum_of(redis_client)


def test_what_an_end_writes_counts(narrow: JobTable, a_job: MakeJob) -> None:
    (job_id,) = submit(narrow, a_job())
    narrow.finish(claim(narrow, job_id), Status.SUCCEEDED, data={"text": "y" * 50_000})
    assert 50_000 < narrow.kept()["default"] < 60_000


def test_end_that_an_earlier_version_wrote_is_counted_by_the_next_pass(
    narrow: JobTable, redis_client: redis.Redis, reconciler: Reconciler, a_job: MakeJob
) -> None:
    noted, unknown = submit(narrow, a_job(), a_job())
    for job_id in (noted, unknown):
        narrow.cancel(job_id)
    redis_client.zrem(names.kept_key("default"), noted, unknown)
    redis_client.hdel(names.job_key(unknown), "kept")  # It wrote that one, too.
    redis_client.hset(names.KEPT_UNITS, "default", open_units(redis_client, noted))
    reconciler.run_once()
    found = scores(redis_client)
    assert found.keys() == {noted, unknown}
    assert all(score > ENDED for score in found.values())
    assert is_sum_of(redis_client)


def test_what_is_wanted_of_an_end_counts_too(
    narrow: JobTable, outbox: Outbox, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    job = a_job()
    narrow.cancel(*submit(narrow, job))
    before = narrow.kept()["default"]
    narrow.adopt([replace(job, notifications={"celery": {"callbacks": "x" * 10_000}})])
    assert narrow.kept()["default"] > before + 9_000
    narrow.drop_ended("default")
    assert outbox.counts().waiting == 0
    assert outbox.counts().history["given_up"] == 1
    assert redis_client.keys("imagemill:t*:celery") == [names.notifications_key("celery")]


def test_ended_jobs_are_dropped_by_caller_status_and_age(
    narrow: JobTable, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    runs, fails, waits = submit(narrow, *(a_job(caller="one") for _ in range(3)))
    held = claim(narrow, fails)
    claim(narrow, runs)
    canceled = submit(narrow, *(a_job(caller="one") for _ in range(2)))
    (other,) = submit(narrow, a_job(caller="two"))
    for job_id in (*canceled, other):
        narrow.cancel(job_id)
    narrow.finish(held, Status.FAILED)
    redis_client.hset(names.job_key(canceled[0]), "ended_at", 1_000)
    assert narrow.drop_ended("one", [Status.SUCCEEDED, Status.EXPIRED]).count == 0
    narrow.drop_ended("one", [Status.CANCELED], ended_before=2_000)
    assert there(narrow, [runs, fails, waits, *canceled, other]) == [True, True, True, False, True, True]
    narrow.drop_ended("one", [Status.CANCELED])
    assert there(narrow, [runs, fails, waits, *canceled, other]) == [True, True, True, False, False, True]
    narrow.drop_ended("one")
    assert there(narrow, [runs, fails, waits, *canceled, other]) == [True, False, True, False, False, True]
    narrow.drop_ended()
    assert there(narrow, [runs, waits, other]) == [True, True, False]
    assert [each.id for each in narrow.list_jobs()[0]] == [waits, runs]
    assert redis_client.zcard(names.EXPIRING) == 0


def test_dead_job_that_is_dropped_is_no_more_on_the_list_of_the_dead(
    narrow: JobTable, control: QueueControl, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    (job_id,) = submit(narrow, a_job())
    narrow.finish(claim(narrow, job_id), Status.FAILED, error={"code": "worker_lost", "message": "gone"})
    redis_client.zadd(names.DEAD, {job_id: 1.0})
    narrow.drop_ended("default", [Status.FAILED])
    assert redis_client.zcard(names.DEAD) == 0
    assert control.dead() == []


def test_drop_does_some_and_the_next_goes_on(
    redis_client: redis.Redis, settings: Settings, a_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.table.drops._LOOK_AT", 2)
    monkeypatch.setattr("jobs.table.drops._MOST_LOOKS", 2)
    table = JobTable(redis_client, settings)
    ids = submit(table, *(a_job() for _ in range(7)))
    for job_id in ids[1:]:
        table.cancel(job_id)
    first = table.drop_ended("default")
    assert (first.count, first.cursor is None) == (3, False)
    second = table.drop_ended("default", cursor=first.cursor)
    assert (second.count, second.cursor) == (3, None)
    assert there(table, ids) == [True] + [False] * 6


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1\n", "1" * 16])
def test_cursor_from_elsewhere_is_refused(table: JobTable, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        table.drop_ended("default", cursor=cursor)


def test_callers_bound_is_a_part_of_what_redis_may_use(tmp_path: Path, a_job: MakeJob) -> None:
    with RedisServer(tmp_path) as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        settings = Settings(redis_url=server.url)
        submit(JobTable(client, settings), a_job(caller="another"))
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 8 * MIB)
        greedy, other = JobTable(client, settings), JobTable(client, settings)
        for _ in range(12):
            jobs = greedy.submit_many([a_job(**LONG) for _ in range(50)])
            greedy.cancel_many([each.job_id for each in jobs if each.refused is None])
        assert other.submit(a_job(caller="another")).refused is None
        assert greedy.submit(a_job()).refused is None
        assert json.loads(other.encode(a_job())[1])["max_kept"] == int(0.4 * int(client.info("memory")["maxmemory"]))
