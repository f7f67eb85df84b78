"""Lists of jobs: newest first, page after page, and nothing in them for longer than its record."""

from __future__ import annotations

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.errors import InvalidRequest
from jobs.table.queues import QueueControl
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import MakeJob, claim, submit


def ids(page: tuple[list[JobRecord], str | None]) -> list[str]:
    return [record.id for record in page[0]]


def test_jobs_come_newest_first_and_only_the_callers_own(table: JobTable, a_job: MakeJob) -> None:
    submitted = submit(table, *(a_job(caller="one") for _ in range(3)), a_job(caller="two"))
    assert ids(table.list_jobs("one")) == submitted[2::-1]
    assert ids(table.list_jobs("two")) == submitted[3:]
    assert ids(table.list_jobs("three")) == []
    assert ids(table.list_jobs()) == submitted[::-1]


def test_pages_show_each_job_once_though_others_come_in_between(table: JobTable, a_job: MakeJob) -> None:
    submitted = submit(table, *(a_job() for _ in range(5)))
    first, cursor = table.list_jobs(limit=2)
    submit(table, a_job())
    assert cursor is not None
    second, cursor = table.list_jobs(limit=2, cursor=cursor)
    third, end = table.list_jobs(limit=2, cursor=cursor)
    assert [record.id for record in [*first, *second, *third]] == submitted[::-1]
    assert end is None


def test_lists_can_be_of_one_status_and_of_one_model(table: JobTable, a_job: MakeJob) -> None:
    runs, waits, ended = submit(table, *(a_job() for _ in range(3)))
    claim(table, runs)
    table.cancel(ended)
    assert ids(table.list_jobs(status=Status.PROCESSING)) == [runs]
    assert ids(table.list_jobs(status=Status.CANCELED)) == [ended]
    assert ids(table.list_jobs(status=Status.QUEUED, model="shapes-flow")) == [waits]
    assert ids(table.list_jobs(model="other")) == []


def test_page_of_long_records_ends_early_and_asks_for_each_of_them_few_times(
    table: JobTable, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    long = "\N{LARGE RED CIRCLE}" * 2_500
    submitted = submit(table, *(a_job(prompt=long, negative_prompt=long, guidance_scale=3) for _ in range(100)))
    redis_client.config_resetstat()
    page, cursor = table.list_jobs(limit=100)
    asked = sum(each["calls"] for name, each in redis_client.info("commandstats").items() if name != "cmdstat_info")
    assert asked < 11 * len(page)  # where each script runs twice
    assert 45 < len(page) < 60  # of 20 KiB each
    rest, _ = table.list_jobs(limit=100, cursor=cursor)
    assert ids((page + rest, None)) == submitted[: -len(page) - len(rest) - 1 : -1]


def test_page_ends_early_where_few_jobs_fit_and_the_next_goes_on(
    table: JobTable, a_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.table.reader._LOOK_AT", 2)
    monkeypatch.setattr("jobs.table.reader._MOST_LOOKS", 2)
    submitted = submit(table, *(a_job() for _ in range(5)))
    table.cancel(submitted[0])
    nothing, cursor = table.list_jobs(status=Status.CANCELED)
    assert (nothing, cursor is None) == ([], False)
    assert ids(table.list_jobs(status=Status.CANCELED, cursor=cursor)) == submitted[:1]


@pytest.mark.parametrize("cursor", ["", "x", "jobs:1", "ä", "-1", "1\n", "1" * 16])
def test_cursor_from_elsewhere_is_refused(table: JobTable, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        table.list_jobs(cursor=cursor)


def test_rejected_job_is_listed(table: JobTable) -> None:
    table.reject("outside", request={"n": 0}, queue="gpu.shapes-flow", error=InvalidRequest("n", "is 0"))
    assert ids(table.list_jobs("celery", Status.FAILED)) == ["outside"]


def test_job_leaves_the_lists_when_its_record_expires(
    narrow: JobTable, redis_client: redis.Redis, reconciler: Reconciler, a_job: MakeJob
) -> None:
    gone, kept = submit(narrow, a_job(), a_job())
    narrow.cancel(gone)
    reconciler.run_once()
    assert ids(narrow.list_jobs()) == [kept, gone]
    redis_client.zadd(names.EXPIRING, {f"{gone} default": 1.0}, xx=True)
    reconciler.run_once()
    for key in (names.JOBS, names.jobs_key("default")):
        assert redis_client.zrange(key, 0, -1) == [kept]
    assert redis_client.zcard(names.EXPIRING) == 0


def test_list_takes_off_what_has_expired_without_the_reconciler(
    table: JobTable, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    gone, kept = submit(table, a_job(), a_job())
    redis_client.delete(names.job_key(gone))
    assert ids(table.list_jobs("default")) == [kept]
    assert redis_client.zrange(names.jobs_key("default"), 0, -1) == [kept]


def test_replayed_job_stands_where_it_stood_and_does_not_expire(
    narrow: JobTable, control: QueueControl, redis_client: redis.Redis, reconciler: Reconciler, a_job: MakeJob
) -> None:
    again, other = submit(narrow, a_job(), a_job())
    narrow.cancel(again)
    redis_client.zadd(names.EXPIRING, {f"{again} default": 1.0}, xx=True)
    control.replay(again)
    reconciler.run_once()
    assert ids(narrow.list_jobs()) == [other, again]
