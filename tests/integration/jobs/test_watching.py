"""Who reads a job sees what it does as it happens; nobody pays for what nobody reads: on a real server."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
import redis

from jobs import names
from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.table.claim import Claim, Report
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.table.table import JobTable
from jobs.table.watching import SAY_EVERY_S, WATCH_S, Watching
from tests.integration.jobs.steps import MakeJob, claim, submit


@pytest.fixture
def table(redis_client: redis.Redis, settings: Settings) -> JobTable:
    """Whose commands are counted, and so not sent twice."""
    return JobTable(redis_client, settings)


def events(client: redis.Redis, job_id: str) -> list[str]:
    """The types of a job's events."""
    found = cast("list[tuple[str, dict[str, str]]]", client.xrange(names.events_key(job_id)))
    return [fields["type"] for _, fields in found]


def told(client: redis.Redis, job_id: str) -> Any:
    """The data of a job's last event."""
    found: Any = client.xrevrange(names.events_key(job_id), count=1)
    return json.loads(found[0][1]["data"])


def place(record: JobRecord) -> tuple[str | None, int, int]:
    return record.stage, record.step, record.steps


def begun(table: JobTable, job_id: str) -> Claim:
    claimed = claim(table, job_id, owner="worker@here")
    assert table.begin(claimed, Stage.ENCODE) is None
    return claimed


def at(claimed: Claim, step: int) -> dict[str, Report]:
    return {claimed.token: Report(claim=claimed, stage=Stage.GENERATE, step=step, steps=20)}


def test_job_that_nobody_reads_has_its_claim_and_its_end_for_events(
    table: JobTable, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    (job_id,) = submit(table, a_job())
    claimed = begun(table, job_id)
    table.renew([claimed], at(claimed, 3))
    table.finish(claimed, Status.SUCCEEDED)
    assert events(redis_client, job_id) == ["status", "completed"]


def test_first_read_shows_what_the_last_renewal_knew(table: JobTable, a_job: MakeJob) -> None:
    (job_id,) = submit(table, a_job())
    claimed = begun(table, job_id)
    assert place(table.get(job_id)) == (Stage.ENCODE, 0, 0)
    table.renew([claimed], at(claimed, 3))
    assert place(table.look(job_id)) == (Stage.GENERATE, 3, 20)


def test_renewal_says_nothing_of_a_job_that_is_anothers(table: JobTable, a_job: MakeJob) -> None:
    (job_id,) = submit(table, a_job())
    stale = begun(table, job_id)
    table.give_back(stale)
    begun(table, job_id)
    table.renew([stale], at(stale, 9))
    assert place(table.get(job_id)) == (Stage.ENCODE, 0, 0)


def test_end_tells_where_the_job_was_at_last(table: JobTable, a_job: MakeJob) -> None:
    (job_id,) = submit(table, a_job())
    claimed = begun(table, job_id)
    record = table.finish(claimed, Status.FAILED, at=at(claimed, 7)[claimed.token])
    assert place(record) == place(table.get(job_id)) == (Stage.GENERATE, 7, 20)


def test_read_tells_followers_where_the_job_is_once(table: JobTable, redis_client: redis.Redis, a_job: MakeJob) -> None:
    (job_id,) = submit(table, a_job())
    claimed = begun(table, job_id)
    table.renew([claimed], at(claimed, 3))
    for _ in range(2):
        table._scripts.run("watch", job_ids=[job_id], watch_s=WATCH_S)
    assert events(redis_client, job_id) == ["status", "progress"]
    assert told(redis_client, job_id) == {"stage": "generate", "step": 3, "steps": 20}
    table.progress(claimed, Stage.GENERATE, 4, 20)
    table._scripts.run("watch", job_ids=[job_id], watch_s=WATCH_S)
    assert events(redis_client, job_id) == ["status", "progress", "progress"]


def test_job_that_was_read_while_it_waited_begins_before_its_readers(
    table: JobTable, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    (job_id,) = submit(table, a_job())
    table.look(job_id)
    claimed = begun(table, job_id)
    assert events(redis_client, job_id) == ["status", "progress"]
    assert 0 < claimed.watched_s <= WATCH_S


def test_read_is_over_after_its_time(table: JobTable, redis_client: redis.Redis, a_job: MakeJob) -> None:
    (job_id,) = submit(table, a_job())
    table.look(job_id)
    redis_client.hset(names.job_key(job_id), "watched", 1)
    assert begun(table, job_id).watched_s == 0
    assert events(redis_client, job_id) == ["status"]


def test_whoever_runs_the_job_hears_of_its_readers_and_of_no_others(
    table: JobTable, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    mine, others, waiting = submit(table, a_job(), a_job(), a_job())
    begun(table, mine)
    claim(table, others, owner="worker@there")
    with redis_client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
        channel.subscribe(names.watched_channel("worker@here"))
        channel.get_message(timeout=5)
        table.watch([others, waiting, mine, "no-such-job"])
        assert (channel.get_message(timeout=5) or {})["data"] == mine
        assert channel.get_message(timeout=0.1) is None
    assert not redis_client.exists(names.job_key("no-such-job"))


def test_job_that_has_ended_is_read_for_nothing(table: JobTable, redis_client: redis.Redis, a_job: MakeJob) -> None:
    (job_id,) = submit(table, a_job())
    table.finish(begun(table, job_id), Status.SUCCEEDED)
    before = redis_client.hgetall(names.job_key(job_id))
    table._scripts.run("watch", job_ids=[job_id], watch_s=WATCH_S)
    assert redis_client.hgetall(names.job_key(job_id)) == before
    assert events(redis_client, job_id) == ["status", "completed"]


def test_lists_are_reads_of_what_goes_on(table: JobTable, redis_client: redis.Redis, a_job: MakeJob) -> None:
    going_on, ended = submit(table, a_job(), a_job())
    table.cancel(ended)
    table.list_jobs()
    assert redis_client.hexists(names.job_key(going_on), "watched")
    assert not redis_client.hexists(names.job_key(ended), "watched")


def test_reader_says_so_at_most_every_few_seconds() -> None:
    now = 0.0
    watching = Watching(lambda: now)
    assert watching.due(["a", "b"]) == ["a", "b"]
    now = SAY_EVERY_S / 2
    assert watching.due(["a", "b", "c"]) == ["c"]
    watching.forget(["b"])
    assert watching.due(["a", "b"]) == ["b"]
    now = SAY_EVERY_S
    assert watching.due(["a"]) == ["a"]


def test_read_of_one_job_costs_that_job_alone(table: JobTable, redis_client: redis.Redis, a_job: MakeJob) -> None:
    read, *others = submit(table, *(a_job() for _ in range(20)))
    claims = [begun(table, each) for each in (read, *others[:5])]
    table.look(read)
    watched = [each.job_id for each in claims if redis_client.hexists(names.job_key(each.job_id), "watched")]
    assert watched == [read]


@pytest.mark.parametrize("statuses", [(Status.QUEUED,), (Status.QUEUED, Status.CANCELED), (None,)])
def test_long_lists_are_whole_though_no_script_walks_them(
    table: JobTable, monkeypatch: pytest.MonkeyPatch, a_job: MakeJob, statuses: tuple[Status | None, ...]
) -> None:
    monkeypatch.setattr("jobs.table.reader._LOOK_AT", 7)
    ids = submit(table, *(a_job() for _ in range(60)))
    for each in ids[::3]:
        table.cancel(each)
    found: list[str] = []
    for status in statuses:
        cursor = None
        while True:
            page, cursor = table.list_jobs(status=status, limit=9, cursor=cursor)
            found += [each.id for each in page]
            if cursor is None:
                break
    wanted = [each for each in ids if statuses != (Status.QUEUED,) or each not in ids[::3]]
    assert sorted(found) == sorted(wanted)
