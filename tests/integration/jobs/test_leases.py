"""What holds a job, and what lets it go: renew, lapse, give back, refund; each done once, and repeated."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.errors import Fenced
from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.table.claim import Claim, Verdict
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import (
    QUEUE,
    MakeJob,
    claim,
    counts,
    let_lease_run_out,
    submit,
    turn_of,
    wait_for_redis_clock,
)


def lease_end(client: redis.Redis, claimed: Claim) -> float | None:
    return client.zscore(names.running_key(QUEUE), claimed.job_id)


def number(client: redis.Redis, claimed: Claim, field: str) -> int:
    return int(client.hget(names.job_key(claimed.job_id), field) or 0)


@pytest.fixture
def lapsed(table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler) -> Claim:
    """A claim that entered encode, and whose lease ran out."""
    claimed = claim(table, *submit(table, a_job()))
    table.begin(claimed, Stage.ENCODE)
    let_lease_run_out(redis_client, claimed.job_id)
    reconciler.run_once()
    return claimed


# Renew.


def test_renewed_lease_ends_one_lease_from_now(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, settings: Settings
) -> None:
    claims = [claim(table, job_id) for job_id in submit(table, a_job(), a_job())]
    let_lease_run_out(redis_client, *(each.job_id for each in claims))
    seconds, microseconds = redis_client.time()
    assert table.renew(claims) == [Verdict.GO, Verdict.GO]
    for each in claims:
        assert (lease_end(redis_client, each) or 0) - (seconds + microseconds / 1e6) >= settings.lease_s


def test_renewal_of_no_jobs_is_no_error(table: JobTable) -> None:
    assert table.renew([]) == []


def test_renewal_answers_each_job_for_itself(table: JobTable, a_job: MakeJob, redis_client: redis.Redis) -> None:
    jobs = submit(table, a_job(), a_job(), a_job(deadline=0.5), a_job())
    healthy, canceled, late, ended = (claim(table, job_id) for job_id in jobs)
    table.cancel(canceled.job_id)
    table.finish(ended, Status.SUCCEEDED)
    wait_for_redis_clock(redis_client, late.record.created_at + 0.5)
    stale = replace(healthy, token="of an earlier attempt")
    answers = table.renew([healthy, canceled, late, ended, stale])
    assert answers == [Verdict.GO, Verdict.CANCEL, Verdict.EXPIRED, Verdict.FENCED, Verdict.FENCED]


def test_renewal_under_a_stale_token_prolongs_nothing(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    claimed = claim(table, *submit(table, a_job()))
    before = lease_end(redis_client, claimed)
    table.renew([replace(claimed, token="of an earlier attempt")])
    assert lease_end(redis_client, claimed) == before


def test_renewal_of_an_ended_job_brings_nothing_back(table: JobTable, a_job: MakeJob) -> None:
    claimed = claim(table, *submit(table, a_job()))
    table.finish(claimed, Status.SUCCEEDED)
    assert table.renew([claimed]) == [Verdict.FENCED]
    assert counts(table) == (0, 0, 0)


# Begin.


def test_attempt_counts_once_for_each_claim_from_when_it_begins(table: JobTable, a_job: MakeJob) -> None:
    claimed = claim(table, *submit(table, a_job()))
    for stage in Stage:
        table.progress(claimed, stage)
    assert table.get(claimed.job_id).attempts == 0
    for _ in range(2):
        assert table.begin(claimed, Stage.GENERATE) is None
    record = table.get(claimed.job_id)
    assert (record.attempts, record.stage, record.step, record.steps) == (1, Stage.GENERATE, 0, 0)


def test_beginning_attempt_learns_that_it_is_not_wanted(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    canceled, late = (claim(table, job_id) for job_id in submit(table, a_job(), a_job()))
    table.cancel(canceled.job_id)
    redis_client.hset(names.job_key(late.job_id), "end_by", 1)
    assert table.begin(canceled, Stage.ENCODE) is Status.CANCELED
    assert table.begin(late, Stage.ENCODE) is Status.EXPIRED


# Lapse.


def test_everything_that_a_late_worker_writes_is_refused(
    table: JobTable, lapsed: Claim, redis_client: redis.Redis
) -> None:
    before = redis_client.hgetall(names.job_key(lapsed.job_id))
    assert table.renew([lapsed]) == [Verdict.FENCED]
    with pytest.raises(Fenced):
        table.begin(lapsed, Stage.ENCODE)
    with pytest.raises(Fenced):
        table.progress(lapsed, Stage.UPLOAD)
    with pytest.raises(Fenced):
        table.finish(lapsed, Status.SUCCEEDED)
    with pytest.raises(Fenced):
        table.give_back(lapsed)
    assert redis_client.hgetall(names.job_key(lapsed.job_id)) == before


def test_lapsed_attempt_stays_charged(table: JobTable, lapsed: Claim) -> None:
    again = claim(table, lapsed.job_id)
    assert (again.record.attempts, again.epoch) == (1, 2)
    table.begin(again, Stage.ENCODE)
    assert table.get(again.job_id).attempts == 2


# Refund.


def test_worker_that_lost_its_job_and_lives_takes_its_charge_back_once(table: JobTable, lapsed: Claim) -> None:
    for _ in range(2):
        table.refund(lapsed)
        assert table.get(lapsed.job_id).attempts == 0


def test_refund_leaves_the_charge_of_another_attempt(table: JobTable, lapsed: Claim) -> None:
    again = claim(table, lapsed.job_id)
    table.begin(again, Stage.ENCODE)
    table.refund(lapsed)
    assert table.get(lapsed.job_id).attempts == 1


def test_refund_of_an_attempt_that_was_never_charged_changes_nothing(table: JobTable, a_job: MakeJob) -> None:
    claimed = claim(table, *submit(table, a_job()))
    table.refund(claimed)
    assert table.get(claimed.job_id).attempts == 0


def test_refund_of_a_job_that_is_gone_writes_nothing(table: JobTable, lapsed: Claim, redis_client: redis.Redis) -> None:
    redis_client.delete(names.job_key(lapsed.job_id))
    table.refund(lapsed)
    assert not redis_client.exists(names.job_key(lapsed.job_id))


# Give back.


def test_job_given_back_waits_uncharged_in_its_old_turn(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    first, second, third, fourth = submit(narrow, *(a_job() for _ in range(4)))
    claimed = claim(narrow, first)
    narrow.begin(claimed, Stage.ENCODE)
    assert narrow.give_back(claimed) == []  # The second and third job fill the window.
    assert counts(narrow) == (2, 2, 0)
    record = narrow.get(first)
    assert (record.status, record.attempts, record.stage, record.started_at) == (Status.QUEUED, 0, None, None)
    assert (turn_of(redis_client, first) or 0) < (turn_of(redis_client, fourth) or 0)
    assert narrow.claim(second, owner="a worker")[1] == [first]
    assert narrow.claim(third, owner="a worker")[1] == [fourth]


def test_job_given_back_is_released_again_where_the_window_allows(table: JobTable, a_job: MakeJob) -> None:
    claimed = claim(table, *submit(table, a_job()))
    assert table.give_back(claimed) == [claimed.job_id]
    assert counts(table) == (0, 1, 0)
    assert claim(table, claimed.job_id).epoch == 2


def test_giving_back_again_gives_the_same_answer_and_has_no_effect(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    claimed = claim(table, *submit(table, a_job()))
    answer = table.give_back(claimed)
    before = redis_client.hgetall(names.job_key(claimed.job_id))
    assert table.give_back(claimed) == answer
    assert redis_client.hgetall(names.job_key(claimed.job_id)) == before


def test_job_that_was_given_back_belongs_to_nobody(table: JobTable, a_job: MakeJob) -> None:
    claimed = claim(table, *submit(table, a_job()))
    table.give_back(claimed)
    with pytest.raises(Fenced):
        table.finish(claimed, Status.SUCCEEDED)
    assert table.renew([claimed]) == [Verdict.FENCED]
    assert table.get(claimed.job_id).status is Status.QUEUED


def test_job_may_be_given_back_any_number_of_times(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, settings: Settings, reconciler: Reconciler
) -> None:
    """Rolling restarts are nobody's death: they count neither as attempts nor as deliveries."""
    (job_id,) = submit(table, a_job())
    for _ in range(settings.max_deliveries + 1):
        claimed = claim(table, job_id)
        table.begin(claimed, Stage.ENCODE)
        table.give_back(claimed)
    assert (number(redis_client, claimed, "deliveries"), number(redis_client, claimed, "attempts")) == (0, 0)
    claim(table, job_id)
    let_lease_run_out(redis_client, job_id)
    reconciler.run_once()
    assert table.get(job_id).status is Status.QUEUED


def test_canceled_job_that_is_given_back_is_canceled(table: JobTable, a_job: MakeJob) -> None:
    claimed = claim(table, *submit(table, a_job()))
    table.cancel(claimed.job_id)
    assert table.give_back(claimed) == []
    assert table.get(claimed.job_id).status is Status.CANCELED
    assert counts(table) == (0, 0, 0)


def test_ended_job_cannot_be_given_back(table: JobTable, a_job: MakeJob) -> None:
    claimed = claim(table, *submit(table, a_job()))
    ended = table.finish(claimed, Status.SUCCEEDED)
    with pytest.raises(Fenced):
        table.give_back(claimed)
    assert table.get(claimed.job_id) == ended


def test_job_given_back_still_expires_while_it_waits(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    claimed = claim(table, *submit(table, a_job(deadline=0.5)))
    table.give_back(claimed)
    wait_for_redis_clock(redis_client, claimed.record.created_at + 0.5)
    reconciler.run_once()
    assert table.get(claimed.job_id).status is Status.EXPIRED


def test_job_that_another_attempt_runs_is_not_given_back(
    table: JobTable, reconciler: Reconciler, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    (job_id,) = submit(table, a_job())
    late = claim(table, job_id)
    let_lease_run_out(redis_client, job_id)
    reconciler.run_once()
    again = claim(table, job_id)
    with pytest.raises(Fenced):
        table.give_back(late)
    assert table.renew([again]) == [Verdict.GO]
