"""How many queued jobs a caller may have: counted where they stand, whoever submits at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
import redis

from jobs.errors import QuotaExceeded
from jobs.process.settings import Settings
from jobs.table.table import JobTable
from tests.integration.jobs.steps import MakeJob, claim, counts, submit

THREADS, EACH, QUOTA = 4, 20, 30


def test_submission_beyond_the_quota_is_refused_and_leaves_nothing(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    submit(narrow, *(replace(a_job(), quota=3) for _ in range(3)))
    before = set(redis_client.scan_iter("imagemill:*"))
    with pytest.raises(QuotaExceeded, match="default has reached its limit of 3 queued jobs: nothing was queued"):
        narrow.submit(replace(a_job(idempotency_key="a key"), quota=3))
    assert set(redis_client.scan_iter("imagemill:*")) == before
    assert counts(narrow) == (1, 2, 0)


def test_bulk_is_queued_up_to_the_quota(narrow: JobTable, a_job: MakeJob) -> None:
    jobs = [replace(a_job(), quota=3) for _ in range(5)]
    submitted = narrow.submit_many(jobs)
    assert [isinstance(each.refused, QuotaExceeded) for each in submitted] == [False, False, False, True, True]
    assert [each.released for each in submitted] == [[jobs[0].job_id], [jobs[1].job_id], [], [], []]
    assert counts(narrow) == (1, 2, 0)


def test_job_that_has_begun_makes_room(narrow: JobTable, a_job: MakeJob) -> None:
    first, _ = submit(narrow, a_job(), a_job())
    job = replace(a_job(), quota=2)
    with pytest.raises(QuotaExceeded):
        narrow.submit(job)
    claim(narrow, first)
    assert narrow.submit(job).job_id == job.job_id  # Refused before under the same id, which was no job.


def test_quota_counts_the_callers_jobs_of_all_queues_and_nobody_elses(narrow: JobTable, a_job: MakeJob) -> None:
    submit(narrow, a_job(caller="one"), replace(a_job(caller="one"), queue="gpu.other"))
    submit(narrow, *(a_job(caller="two") for _ in range(5)))
    narrow.submit(replace(a_job(caller="one"), quota=3))
    with pytest.raises(QuotaExceeded):
        narrow.submit(replace(a_job(caller="one"), queue="gpu.third", quota=3))


def test_repetition_of_what_was_queued_is_no_further_job(narrow: JobTable, a_job: MakeJob) -> None:
    job = replace(a_job(idempotency_key="a key"), quota=1)
    first = narrow.submit(job)
    assert narrow.submit(job) == first
    assert narrow.submit(replace(job, job_id="another-id")).job_id == job.job_id


def test_quota_holds_when_many_submit_at_once(settings: Settings, a_job: MakeJob) -> None:
    jobs = [replace(a_job(), quota=QUOTA) for _ in range(THREADS * EACH)]
    together = Barrier(THREADS)

    def submit_part(part: int) -> int:
        with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
            table = JobTable(client, settings)
            together.wait()
            mine = jobs[part::THREADS]
            return sum(table.submit_many([each])[0].refused is None for each in mine)

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(submit_part, range(THREADS))) == QUOTA


def test_settings_say_it_for_callers_of_whom_nothing_else_is_said(
    redis_client: redis.Redis, settings: Settings, a_job: MakeJob
) -> None:
    table = JobTable(redis_client, settings.model_copy(update={"max_queued": 1}))
    more = replace(a_job(), quota=2)
    answers = table.submit_many([a_job(), a_job(), more, a_job(caller="other")])
    assert [isinstance(each.refused, QuotaExceeded) for each in answers] == [False, True, False, False]
