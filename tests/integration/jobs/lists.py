"""What the lists and counts beside the records have to hold, by the model."""

from __future__ import annotations

from collections import Counter

from jobs import names
from jobs.table.states import Status
from tests.integration.jobs.model import Model
from tests.integration.jobs.snapshot import Snapshot
from tests.integration.jobs.steps import QUEUE

BATCH = "a-batch"


def check_lists(seen: Snapshot, model: Model) -> None:
    """Every job is on the lists of jobs, every ended one on that of what expires, every released one in the line."""
    callers = {job.caller for job in model.jobs.values()}
    assert set(seen.zrange(names.JOBS)) == set(model.jobs)
    for caller in callers:
        own = [job.job_id for job in model.jobs.values() if job.caller == caller]
        assert set(seen.zrange(names.jobs_key(caller))) == set(own)
    ended = {f"{job.job_id} {job.caller}" for job in model.jobs.values() if job.status.is_terminal}
    assert set(seen.zrange(names.EXPIRING)) == ended
    line = seen.zrange(names.line_key(QUEUE))
    assert set(line) == set().union(*map(model.released, callers))
    queued = [job for job in model.jobs.values() if job.status is Status.QUEUED]
    later = [job for job in queued if job.is_later]
    assert set(seen.zrange(names.later_key(QUEUE))) == {job.job_id for job in later}
    for caller in callers:
        of_caller = {job.job_id for job in later if job.caller == caller}
        assert seen.smembers(names.later_of_key(QUEUE, caller)) == of_caller
    queued = [job for job in queued if not job.is_later]
    wait = {job.caller for job in queued if job.job_id not in line}
    assert wait <= seen.smembers(names.callers_key(QUEUE)) == {*model.turns.newcomers, *model.turns.shares}
    in_turn = [job.job_id for job in sorted(queued, key=lambda job: job.turn)]
    assert seen.zrange(names.queued_key(QUEUE)) == in_turn
    called = [model.jobs[job_id].is_called for job_id in line]
    assert called == sorted(called, reverse=True)


def check_batch(seen: Snapshot, model: Model) -> None:
    """The batch counts its jobs by status, and expires only when all have ended."""
    jobs = [job for job in model.jobs.values() if job.is_in_batch]
    key = names.batch_key(BATCH)
    counts = {name: int(count) for name, count in seen.hgetall(key).items()}
    assert {status: count for status, count in counts.items() if count} == Counter(job.status for job in jobs)
    assert seen.zrange(names.batch_jobs_key(BATCH)) == [job.job_id for job in jobs]
    if jobs:
        assert (seen.ttl(key) > 0) == all(job.status.is_terminal for job in jobs)
