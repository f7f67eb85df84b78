"""What operators see of ends that are to be told, and what they can do about those that were given up."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.registry import parse_request, settle
from jobs.process.settings import Settings
from jobs.submit import submission_of
from jobs.table.outbox import Outbox
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import MakeJob, claim

PROTOCOL = "pigeon"

End = Callable[[], str]


@pytest.fixture
def outbox(connection: redis.Redis, settings: Settings) -> Outbox:
    return Outbox(connection, settings, PROTOCOL)


def submit(table: JobTable, catalogue: Catalogue) -> str:
    """A job that somebody is to be told of; its id."""
    request = parse_request({"prompt": "a red circle"})
    job_id = str(uuid.uuid4())
    notifications: dict[str, Any] = {PROTOCOL: {"to": "somebody"}}
    table.submit(
        submission_of(request, settle(request, catalogue), catalogue, job_id=job_id, notifications=notifications)
    )
    return job_id


@pytest.fixture
def end(table: JobTable, catalogue: Catalogue) -> End:
    """Ends such a job; its id."""

    def make() -> str:
        job_id = submit(table, catalogue)
        table.finish(claim(table, job_id), Status.FAILED, error={"code": "generation_error", "message": "it broke"})
        return job_id

    return make


def let_be_due(client: redis.Redis, *job_ids: str) -> None:
    client.zadd(names.outbox_key(PROTOCOL), dict.fromkeys(job_ids, time.time() - 5), xx=True)


def test_nothing_is_counted_where_nothing_is(outbox: Outbox) -> None:
    counts = outbox.counts()
    assert (counts.waiting, counts.put_off, counts.given_up) == (0, 0, 0)
    assert (counts.overdue_s, counts.oldest_s, counts.history) == (0, 0, {})


def test_what_becomes_of_an_end_is_counted_once(outbox: Outbox, end: End, redis_client: redis.Redis) -> None:
    told, put_off, given_up = end(), end(), end()
    ends = {each.record.id: each for each in outbox.take(10)}
    outbox.notified(ends[told])
    outbox.later(ends[put_off], 600)
    outbox.give_up(ends[given_up])
    outbox.notified(ends[told])
    counts = outbox.counts()
    assert (counts.waiting, counts.put_off, counts.given_up) == (1, 1, 1)
    assert counts.history == {"told": 1, "later": 1, "given_up": 1}


def test_age_of_the_oldest_is_that_of_its_job_however_often_it_is_put_off(
    outbox: Outbox, end: End, redis_client: redis.Redis
) -> None:
    job_id = end()
    redis_client.hset(names.job_key(job_id), "ended_at", f"{time.time() - 1000:.6f}")
    for _ in range(2):
        (taken,) = outbox.take(10)
        outbox.later(taken, 600)
        counts = outbox.counts()
        assert counts.overdue_s == 0
        assert counts.oldest_s >= 1000
        let_be_due(redis_client, job_id)
        assert outbox.counts().overdue_s >= 5
    (taken,) = outbox.take(10)
    outbox.notified(taken)
    assert (outbox.counts().put_off, outbox.counts().oldest_s) == (0, 0)


def test_end_that_was_given_up_is_told_after_all(outbox: Outbox, end: End) -> None:
    job_id, other = end(), end()
    for each in outbox.take(10):
        outbox.give_up(each)
    assert {name for name, _ in outbox.given_up_at()} == {job_id, other}
    assert outbox.retry([job_id, "no-such-job"]) == [job_id]
    assert outbox.given_up() == [other]
    (taken,) = outbox.take(10)
    assert (taken.record.id, taken.tries) == (job_id, 0)
    outbox.notified(taken)
    assert outbox.retry([job_id]) == []
    assert (outbox.counts().waiting, outbox.counts().given_up) == (0, 1)


def test_end_that_is_put_off_is_told_now_and_one_in_hand_stays_there(
    outbox: Outbox, end: End, redis_client: redis.Redis
) -> None:
    put_off, in_hand = end(), end()
    ends = {each.record.id: each for each in outbox.take(10)}
    outbox.later(ends[put_off], 600)
    assert outbox.take(10) == []
    assert set(outbox.retry([put_off, in_hand])) == {put_off, in_hand}
    assert [each.record.id for each in outbox.take(10)] == [put_off]


def test_end_that_was_put_off_and_is_in_hand_again_stays_there(
    outbox: Outbox, end: End, redis_client: redis.Redis
) -> None:
    job_id = end()
    (first,) = outbox.take(10)
    outbox.later(first, 600)
    let_be_due(redis_client, job_id)
    (second,) = outbox.take(10)
    assert outbox.retry([job_id]) == [job_id]
    assert outbox.take(10) == []
    outbox.notified(second)
    assert outbox.counts().waiting == 0


def test_message_that_comes_again_has_the_end_told_anew_as_it_asks(
    outbox: Outbox, table: JobTable, end: End, a_job: MakeJob
) -> None:
    job_id = end()
    (slow,) = outbox.take(10)
    table.submit(replace(a_job(), job_id=job_id, notifications={PROTOCOL: {"to": "somebody else"}}))
    outbox.notified(slow)
    (taken,) = outbox.take(10)
    assert (taken.record.id, taken.wants) == (job_id, {"to": "somebody else"})
    outbox.notified(taken)
    assert (outbox.counts().waiting, outbox.counts().history) == (0, {"told": 1})


def test_end_is_told_by_whoever_brought_it_about(outbox: Outbox, table: JobTable, a_job: MakeJob) -> None:
    job = replace(a_job(), notifications={PROTOCOL: {}})
    table.submit(job)
    _, (own,) = table.end(claim(table, job.job_id), Status.SUCCEEDED, notifies=True)
    assert outbox.take(10) == []
    outbox.notified(own)
    assert (outbox.counts().waiting, outbox.counts().history) == (0, {"told": 1})


def test_end_whose_job_is_forgotten_is_forgotten(
    outbox: Outbox, end: End, redis_client: redis.Redis, settings: Settings
) -> None:
    gone, late = end(), end()
    for each in outbox.take(10):
        outbox.give_up(each) if each.record.id == gone else outbox.later(each, 0)
    redis_client.delete(names.job_key(gone), names.job_key(late))
    assert outbox.retry([gone]) == []
    assert outbox.take(10) == []
    assert (outbox.counts().waiting, outbox.counts().put_off, outbox.counts().given_up) == (0, 0, 0)
    assert outbox.counts().history["given_up"] == 2  # One by its notifier, one for it was too late to tell it.
    redis_client.zadd(names.given_up_key(PROTOCOL), {"long ago": time.time() - settings.retention_s - 1})
    assert outbox.counts().given_up == 0


def end_as_before(client: redis.Redis, settings: Settings, job_id: str) -> None:
    """What a process of the version before does, which knows nothing of who is to be told."""
    now_s = time.time()
    client.hset(names.job_key(job_id), mapping={"status": "canceled", "ended_at": f"{now_s:.6f}"})
    client.zadd(names.EXPIRING, {f"{job_id} default": now_s + settings.retention_s})


def test_end_that_a_process_of_the_version_before_wrote_is_told_once(
    table: JobTable,
    catalogue: Catalogue,
    settings: Settings,
    outbox: Outbox,
    end: End,
    reconciler: Reconciler,
    redis_client: redis.Redis,
) -> None:
    ours, theirs = end(), submit(table, catalogue)
    for told in outbox.take(10):
        outbox.notified(told)
    end_as_before(redis_client, settings, theirs)
    for _ in range(2):
        reconciler.run_once()
        ends = outbox.take(10)
        assert ours not in {each.record.id for each in ends}
        for told in ends:
            assert (told.record.id, told.record.status) == (theirs, Status.CANCELED)
            outbox.notified(told)
    assert outbox.counts().history["told"] == 2
