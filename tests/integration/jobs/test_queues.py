"""What an operator does with queues: pause, resume, purge, and the dead; each done once, and repeated."""

from __future__ import annotations

import pytest
import redis

from jobs import names
from jobs.broker.reconcile import Reconciler
from jobs.errors import InvalidRequest, JobNotFound
from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.scripts.limits import limits_of
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.table import JobTable
from tests.integration.jobs.steps import (
    QUEUE,
    MakeJob,
    claim,
    counts,
    let_lease_run_out,
    messages,
    submit,
    wait_for_redis_clock,
)


def die(table: JobTable, client: redis.Redis, reconciler: Reconciler, job_id: str, times: int = 3) -> None:
    for _ in range(times):
        table.begin(claim(table, job_id), Stage.ENCODE)
        let_lease_run_out(client, job_id)
        reconciler.run_once()


@pytest.fixture
def dead(narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler) -> str:
    """A job that lost its worker three times."""
    (job_id,) = submit(narrow, a_job(idempotency_key="k", deadline=600))
    die(narrow, redis_client, reconciler, job_id)
    for key in redis_client.keys(f"{QUEUE}*"):
        redis_client.delete(key)
    return job_id


# Pause and resume.


def test_paused_queue_hands_out_nothing_and_keeps_what_waits(
    narrow: JobTable, control: QueueControl, a_job: MakeJob
) -> None:
    released, running = submit(narrow, a_job(), a_job())
    claimed = claim(narrow, running)
    control.pause(QUEUE)
    assert narrow.submit(a_job()).released == []
    assert narrow.claim(released, owner="a worker") == (None, [])
    assert counts(narrow) == (2, 0, 1)
    assert narrow.finish(claimed, Status.SUCCEEDED).status is Status.SUCCEEDED
    assert counts(narrow) == (2, 0, 0)
    assert narrow.queues()[0].is_paused


def test_job_given_back_to_a_paused_queue_stays_there(narrow: JobTable, control: QueueControl, a_job: MakeJob) -> None:
    claimed = claim(narrow, *submit(narrow, a_job()))
    control.pause(QUEUE)
    assert narrow.give_back(claimed) == []
    assert counts(narrow) == (1, 0, 0)


def test_resumed_queue_hands_out_what_there_is_room_for_in_turn(
    narrow: JobTable, control: QueueControl, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    control.pause(QUEUE)
    one, two = (submit(narrow, *(a_job(caller=caller) for _ in range(3))) for caller in ("one", "two"))
    assert counts(narrow) == (6, 0, 0)
    control.resume(QUEUE)
    assert counts(narrow) == (4, 2, 0)
    assert not narrow.queues()[0].is_paused
    claim(narrow, one[0])
    claim(narrow, two[0])


def test_callers_are_remembered_only_while_jobs_wait(
    narrow: JobTable, redis_client: redis.Redis, a_job: MakeJob
) -> None:
    jobs = [*submit(narrow, *(a_job(caller="one") for _ in range(3))), *submit(narrow, a_job(caller="two"))]
    assert redis_client.smembers(names.callers_key(QUEUE)) == {"one", "two"}
    narrow.cancel(jobs[2])
    for job_id in (*jobs[:2], jobs[3]):
        claim(narrow, job_id)
    assert redis_client.smembers(names.callers_key(QUEUE)) == set()
    assert counts(narrow) == (0, 0, 3)


def test_resumed_jobs_are_sent_in_their_turn(
    redis_client: redis.Redis, settings: Settings, control: QueueControl, narrow: JobTable, a_job: MakeJob
) -> None:
    control.pause(QUEUE)
    first, second, third = submit(narrow, a_job(priority="low"), a_job(), a_job(priority="high"))
    control.resume(QUEUE)
    assert counts(narrow) == (1, 2, 0)
    assert narrow.claim(third, owner="a worker")[1] == [first]
    assert narrow.claim(second, owner="a worker")[1] == []


def test_paused_queue_says_nothing_about_another(narrow: JobTable, control: QueueControl, a_job: MakeJob) -> None:
    control.pause("gpu.other")
    (job_id,) = submit(narrow, a_job())
    claim(narrow, job_id)


def test_jobs_of_a_paused_queue_expire_and_can_be_canceled(
    narrow: JobTable, control: QueueControl, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    control.pause(QUEUE)
    late, unwanted = submit(narrow, a_job(start_deadline=0.2), a_job())
    assert narrow.cancel(unwanted) == (Status.CANCELED, [])
    wait_for_redis_clock(redis_client, narrow.get(late).created_at + 0.2)
    reconciler.run_once()
    assert narrow.get(late).status is Status.EXPIRED
    assert counts(narrow) == (0, 0, 0)


def test_lapsed_job_of_a_paused_queue_waits(
    narrow: JobTable, control: QueueControl, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    (job_id,) = submit(narrow, a_job())
    claim(narrow, job_id)
    control.pause(QUEUE)
    let_lease_run_out(redis_client, job_id)
    reconciler.run_once()
    assert counts(narrow) == (1, 0, 0)
    assert messages(redis_client) == []


# Purge.


def test_purge_cancels_what_has_not_begun_and_nothing_else(
    narrow: JobTable, control: QueueControl, a_job: MakeJob
) -> None:
    running, *queued = submit(narrow, *(a_job(caller=caller) for caller in ("one", "two") * 3))
    claim(narrow, running)
    assert sorted(control.job_ids(QUEUE)) == sorted(queued)
    assert control.cancel_all(QUEUE) == 5
    assert {narrow.get(job_id).status for job_id in queued} == {Status.CANCELED}
    assert narrow.get(running).status is Status.PROCESSING
    assert control.cancel_all(QUEUE) == 0


def test_purge_sends_no_messages_of_jobs_that_it_is_about_to_cancel(
    narrow: JobTable, control: QueueControl, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    submit(narrow, *(a_job() for _ in range(20)))
    assert control.cancel_all(QUEUE) == 20
    assert messages(redis_client) == []


def test_cancel_of_all_reaches_running_jobs(narrow: JobTable, control: QueueControl, a_job: MakeJob) -> None:
    running, waiting = submit(narrow, a_job(), a_job())
    claimed = claim(narrow, running)
    assert control.cancel_all(QUEUE, running=True) == 2
    assert narrow.progress(claimed, Stage.GENERATE) is Status.CANCELED
    assert narrow.get(waiting).status is Status.CANCELED


def test_purge_of_a_queue_that_never_was_cancels_nothing(control: QueueControl) -> None:
    assert control.cancel_all("gpu.no-such-queue") == 0


# The dead, and replay.


def test_the_last_to_die_is_listed_first(
    narrow: JobTable,
    control: QueueControl,
    a_job: MakeJob,
    redis_client: redis.Redis,
    reconciler: Reconciler,
    dead: str,
) -> None:
    (later,) = submit(narrow, a_job())
    die(narrow, redis_client, reconciler, later)
    assert [record.id for record in control.dead()] == [later, dead]


def test_replayed_dead_job_is_as_new_under_its_id(
    narrow: JobTable, control: QueueControl, dead: str, redis_client: redis.Redis
) -> None:
    before = narrow.get(dead)
    record = control.replay(dead)
    assert (record.status, record.attempts, record.error, record.ended_at) == (Status.QUEUED, 0, None, None)
    assert record.payload == before.payload
    assert control.dead() == []
    assert set(messages(redis_client)) == {dead}
    assert not redis_client.exists(names.events_key(dead))
    assert {redis_client.ttl(key) for key in redis_client.scan_iter("imagemill:job:*")} == {-1}
    assert redis_client.ttl("imagemill:idempotency:default:k") == -1
    claimed = claim(narrow, dead)
    assert claimed.epoch == 4
    assert narrow.finish(claimed, Status.SUCCEEDED).status is Status.SUCCEEDED


def test_replayed_job_has_all_its_attempts_again(
    narrow: JobTable, control: QueueControl, dead: str, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    control.replay(dead)
    die(narrow, redis_client, reconciler, dead, times=2)
    assert narrow.get(dead).status is Status.QUEUED
    die(narrow, redis_client, reconciler, dead, times=1)
    assert narrow.get(dead).status is Status.FAILED
    assert [record.id for record in control.dead()] == [dead]


def test_replayed_canceled_job_runs(narrow: JobTable, control: QueueControl, a_job: MakeJob) -> None:
    waiting, running = submit(narrow, a_job(), a_job())
    claimed = claim(narrow, running)
    for job_id in (waiting, running):
        narrow.cancel(job_id)
    narrow.finish(claimed, Status.CANCELED)
    for job_id in (waiting, running):
        assert control.replay(job_id).status is Status.QUEUED
        again = claim(narrow, job_id)
        assert narrow.begin(again, Stage.ENCODE) is None
        assert narrow.finish(again, Status.SUCCEEDED).status is Status.SUCCEEDED


def test_replay_gives_deadlines_anew(
    narrow: JobTable, control: QueueControl, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    (job_id,) = submit(narrow, a_job(deadline=1, start_deadline=1))
    wait_for_redis_clock(redis_client, narrow.get(job_id).created_at + 1)
    reconciler.run_once()
    assert narrow.get(job_id).status is Status.EXPIRED
    control.replay(job_id)
    assert narrow.begin(claim(narrow, job_id), Stage.ENCODE) is None


def test_replay_under_its_nonce_again_gives_the_same_answer(
    narrow: JobTable, control: QueueControl, dead: str, narrow_settings: Settings
) -> None:
    limits = limits_of(narrow_settings)
    answers = [control._scripts.run("replay", job_id=dead, nonce="a nonce", **limits) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0][:2] == ["replayed", f'["{dead}"]']
    assert counts(narrow) == (0, 1, 0)


def test_same_idempotency_key_finds_the_replayed_job(
    narrow: JobTable, control: QueueControl, a_job: MakeJob, dead: str
) -> None:
    control.replay(dead)
    assert narrow.submit(a_job(idempotency_key="k", deadline=600)).job_id == dead


def test_late_worker_of_the_earlier_life_changes_nothing(
    narrow: JobTable, control: QueueControl, a_job: MakeJob
) -> None:
    claimed = claim(narrow, *submit(narrow, a_job()))
    narrow.begin(claimed, Stage.ENCODE)
    narrow.finish(claimed, Status.FAILED)
    control.replay(claimed.job_id)
    again = claim(narrow, claimed.job_id)
    narrow.begin(again, Stage.ENCODE)
    narrow.refund(claimed)
    assert narrow.get(claimed.job_id).attempts == 1


@pytest.mark.parametrize("status", ["queued", "processing", "succeeded"])
def test_only_a_job_that_ended_without_images_is_replayed(
    narrow: JobTable, control: QueueControl, a_job: MakeJob, status: str
) -> None:
    (job_id,) = submit(narrow, a_job())
    if status != "queued":
        claimed = claim(narrow, job_id)
    if status == "succeeded":
        narrow.finish(claimed, Status.SUCCEEDED)
    with pytest.raises(InvalidRequest, match=f"{job_id} is {status}"):
        control.replay(job_id)
    assert narrow.get(job_id).status == status


def test_refused_request_cannot_be_replayed(narrow: JobTable, control: QueueControl) -> None:
    narrow.reject("a-job", request={}, queue=QUEUE, error=InvalidRequest("width", "is too small"))
    with pytest.raises(InvalidRequest, match="a-job"):
        control.replay("a-job")


def test_replay_of_no_job_is_an_error(control: QueueControl) -> None:
    with pytest.raises(JobNotFound):
        control.replay("no-such-job")


def test_dropped_job_is_off_the_list_and_keeps_its_record(
    redis_client: redis.Redis, settings: Settings, narrow: JobTable, control: QueueControl, dead: str
) -> None:
    control.drop_dead(dead)
    assert control.dead() == []
    assert control.drop_dead(dead) is False
    assert narrow.get(dead).status is Status.FAILED


def test_dead_are_forgotten_with_their_records(
    redis_client: redis.Redis, dead: str, reconciler: Reconciler, settings: Settings
) -> None:
    redis_client.zadd(names.DEAD, {dead: 1.0})
    reconciler.run_once()
    assert redis_client.zcard(names.DEAD) == 0
