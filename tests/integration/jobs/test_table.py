"""The job table, on a real server; most tests run twice, see `connection` in conftest."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any, cast

import pytest
import redis
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from jobs import names
from jobs.errors import Fenced, IdempotencyConflict, InvalidRequest, JobNotFound, RedisUnavailable
from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.scripts.ranks import PRIORITY_RANK
from jobs.table.claim import Claim
from jobs.table.states import Status
from jobs.table.submission import Submission
from jobs.table.table import JobTable, QueueCounts
from jobs.view import spec_to_run, view_of
from ops.process import free_port
from tests.integration.jobs.model import WINDOW, Model, ModelJob
from tests.integration.jobs.steps import DEADLINE_S, QUEUE, MakeJob, claim, submit, wait_for_redis_clock

IMAGE = {
    "key": "a/0.png",
    "content_type": "image/png",
    "width": 8,
    "height": 8,
    "bytes": 9,
    "sha256": "00",
    "seed": 7,
}


def released(counts: list[QueueCounts]) -> int:
    return sum(each.released for each in counts)


# Release: at most so many unclaimed messages for each queue.


def test_third_job_waits_when_the_window_is_two(narrow: JobTable, a_job: MakeJob) -> None:
    jobs = [a_job() for _ in range(3)]
    submitted = [narrow.submit(job) for job in jobs]
    assert [each.released for each in submitted] == [[jobs[0].job_id], [jobs[1].job_id], []]
    assert narrow.queues() == [QueueCounts(queue=QUEUE, waiting=1, released=2, running=0)]
    assert narrow.get(jobs[2].job_id).status is Status.QUEUED


def test_job_is_released_when_an_earlier_one_is_claimed(narrow: JobTable, a_job: MakeJob) -> None:
    first, _, third = submit(narrow, a_job(), a_job(), a_job())
    assert narrow.claim(first, owner="a worker")[1] == [third]
    assert narrow.queues() == [QueueCounts(queue=QUEUE, waiting=0, released=2, running=1)]


def test_job_is_released_when_a_released_one_is_canceled(narrow: JobTable, a_job: MakeJob) -> None:
    first, _, third = submit(narrow, a_job(), a_job(), a_job())
    assert narrow.cancel(first) == (Status.CANCELED, [third])
    assert narrow.queues() == [QueueCounts(queue=QUEUE, waiting=0, released=2, running=0)]


def test_job_is_released_when_an_earlier_one_expires(
    narrow: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    first, _, third = submit(narrow, a_job(start_deadline=0.001), a_job(), a_job())
    wait_for_redis_clock(redis_client, narrow.get(first).created_at + 0.001)
    assert narrow.claim(first, owner="a worker") == (None, [third])


def test_job_that_was_canceled_while_it_waited_is_not_released(narrow: JobTable, a_job: MakeJob) -> None:
    first, _, third, fourth = submit(narrow, *(a_job() for _ in range(4)))
    assert narrow.cancel(third) == (Status.CANCELED, [])
    assert narrow.claim(first, owner="a worker")[1] == [fourth]


def test_waiting_jobs_leave_by_priority_and_then_by_turn(narrow: JobTable, a_job: MakeJob) -> None:
    first, second, *_ = submit(narrow, a_job(), a_job())
    priorities = ["low", "normal", "high", "normal", "high", "low"]
    waiting = submit(narrow, *(a_job(priority=priority) for priority in priorities))
    left: list[str] = []
    for job_id in (first, second, *(waiting[index] for index in (2, 4, 1, 3, 0, 5))):
        left += narrow.claim(job_id, owner="a worker")[1]
    assert left == [waiting[index] for index in (2, 4, 1, 3, 0, 5)]


def test_callers_and_queues_do_not_block_each_other(narrow: JobTable, a_job: MakeJob) -> None:
    first, *_ = submit(narrow, *(a_job(caller="greedy") for _ in range(5)))
    modest, elsewhere = a_job(caller="modest"), replace(a_job(caller="greedy"), queue="gpu.other")
    assert narrow.submit(modest).released == []
    assert narrow.claim(first, owner="a worker")[1] == [modest.job_id]
    assert narrow.submit(elsewhere).released == [elsewhere.job_id]
    assert narrow.queues() == [
        QueueCounts(queue="gpu.other", waiting=0, released=1, running=0),
        QueueCounts(queue=QUEUE, waiting=3, released=2, running=1),
    ]


def test_submission_repeated_under_its_id_gives_the_same_answer_and_one_job(narrow: JobTable, a_job: MakeJob) -> None:
    job = a_job(idempotency_key="a key")
    assert narrow.submit(job) == narrow.submit(job)
    assert narrow.queues() == [QueueCounts(queue=QUEUE, waiting=0, released=1, running=0)]


class ReleaseMachine(RuleBasedStateMachine):
    """Any order of submissions, claims, finishes and cancels, beside the model."""

    table: JobTable
    a_job: MakeJob

    def __init__(self) -> None:
        super().__init__()
        self.table._redis.flushdb()
        self.model = Model()
        self.running: dict[str, Claim] = {}

    @rule(caller=st.sampled_from(["one", "two", "three"]), priority=st.sampled_from(sorted(PRIORITY_RANK)))
    def submit(self, caller: str, priority: str) -> None:
        job = self.a_job(caller=caller, priority=priority)
        turn = (PRIORITY_RANK[priority], self.model.next_number())
        expected = self.model.add(ModelJob(job_id=job.job_id, caller=caller, turn=turn))
        assert self.table.submit(job).released == expected

    @precondition(lambda self: self.model.released())
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        job = self.model.jobs[data.draw(st.sampled_from(sorted(self.model.released())))]
        claimed, answer = self.table.claim(job.job_id, owner="a worker")
        assert claimed is not None
        self.running[job.job_id] = claimed
        job.status, job.is_released = Status.PROCESSING, False
        assert answer == self.model.release()

    @precondition(lambda self: self.model.where(Status.QUEUED))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.model.where(Status.QUEUED)))
        status, answer = self.table.cancel(job.job_id)
        assert status is Status.CANCELED
        self.model.end_queued(job, Status.CANCELED)
        assert answer == self.model.release()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), status=st.sampled_from([Status.SUCCEEDED, Status.FAILED, Status.CANCELED]))
    def finish(self, data: st.DataObject, status: Status) -> None:
        claimed = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        assert self.table.finish(claimed, status).status is status
        self.model.jobs[claimed.job_id].status = status

    @invariant()
    def counts_are_true(self) -> None:
        counted = [(each.waiting, each.released, each.running) for each in self.table.queues()]
        released, queued = len(self.model.released()), len(self.model.where(Status.QUEUED))
        assert counted == ([(queued - released, released, len(self.running))] if self.model.jobs else [])


@pytest.mark.parametrize("examples", [5, pytest.param(25, marks=pytest.mark.long)])
def test_release_follows_its_model_in_any_order_of_calls(
    redis_client: redis.Redis, settings: Settings, a_job: MakeJob, examples: int
) -> None:
    narrow = JobTable(redis_client, settings.model_copy(update={"release_window": WINDOW}))
    machine = type("Machine", (ReleaseMachine,), {"table": narrow, "a_job": staticmethod(a_job)})
    run_state_machine_as_test(machine, settings=hypothesis_settings(max_examples=examples, stateful_step_count=30))


# Idempotency keys.


def test_same_key_and_parameters_give_the_same_job(table: JobTable, a_job: MakeJob) -> None:
    first, again = table.submit(a_job(idempotency_key="k")), table.submit(a_job(idempotency_key="k"))
    assert again.job_id == first.job_id
    assert again.released == []
    assert released(table.queues()) == 1


def test_same_key_gives_the_same_job_after_its_end(table: JobTable, a_job: MakeJob) -> None:
    (job_id,) = submit(table, a_job(idempotency_key="k"))
    table.finish(claim(table, job_id), Status.SUCCEEDED)
    assert table.submit(a_job(idempotency_key="k")).job_id == job_id


def test_same_key_with_other_parameters_is_a_conflict_and_writes_nothing(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    (job_id,) = submit(table, a_job(idempotency_key="k"))
    before = sorted(redis_client.keys())
    with pytest.raises(IdempotencyConflict, match=f"'k'.*{job_id}") as conflict:
        table.submit(a_job(idempotency_key="k", seed=8))
    assert conflict.value.job_id == job_id
    assert sorted(redis_client.keys()) == before


def test_keys_of_two_callers_are_apart(table: JobTable, a_job: MakeJob) -> None:
    one, two = submit(table, *(a_job(idempotency_key="k", caller=caller) for caller in ("one", "two")))
    assert one != two


def test_same_key_from_many_threads_gives_one_job(table: JobTable, a_job: MakeJob) -> None:
    barrier = Barrier(8)

    def submit_at_once(job: Submission) -> tuple[str, list[str]]:
        barrier.wait(DEADLINE_S)
        submitted = table.submit(job)
        return submitted.job_id, submitted.released

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(submit_at_once, [a_job(idempotency_key="k") for _ in range(8)]))
    job_ids = {job_id for job_id, _ in answers}
    assert len(job_ids) == 1
    assert [job_id for _, ids in answers for job_id in ids] == list(job_ids)


# Claim.


def test_claim_gives_the_whole_job_to_its_worker(table: JobTable, a_job: MakeJob, redis_client: redis.Redis) -> None:
    job = a_job(
        negative_prompt="blue", guidance_scale=3, output={"format": "webp", "crop": {"width": 64, "height": 64}}, n=2
    )
    table.submit(job)
    claimed = claim(table, job.job_id)
    assert spec_to_run(claimed.record) == job.spec
    assert claimed.spec == claimed.record.payload
    assert claimed.epoch == 1
    assert claimed.record == table.get(job.job_id)
    assert claimed.record.status is Status.PROCESSING
    assert redis_client.hget(names.job_key(job.job_id), "owner") == "a worker"


def test_two_claims_have_two_tokens(table: JobTable, a_job: MakeJob) -> None:
    one, two = (claim(table, job_id) for job_id in submit(table, a_job(), a_job()))
    assert one.token != two.token


def test_lease_ends_by_the_clock_of_redis(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, settings: Settings
) -> None:
    claimed = claim(table, *submit(table, a_job()))
    lease_ends_at = redis_client.zscore(names.running_key(QUEUE), claimed.job_id)
    assert lease_ends_at == pytest.approx((claimed.record.started_at or 0) + settings.lease_s, abs=0.001)


def test_one_of_many_claimers_gets_the_job(table: JobTable, a_job: MakeJob) -> None:
    (job_id,) = submit(table, a_job())
    barrier = Barrier(8)

    def claim_at_once(owner: int) -> Claim | None:
        barrier.wait(DEADLINE_S)
        return table.claim(job_id, owner=str(owner))[0]

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(claim_at_once, range(8)))
    assert len([each for each in claims if each is not None]) == 1


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELED])
def test_ended_job_cannot_be_claimed(table: JobTable, a_job: MakeJob, status: Status) -> None:
    (job_id,) = submit(table, a_job())
    table.finish(claim(table, job_id), status)
    assert table.claim(job_id, owner="a worker") == (None, [])


def test_message_of_no_job_claims_nothing(table: JobTable, redis_client: redis.Redis) -> None:
    assert table.claim("no-such-job", owner="a worker") == (None, [])
    assert redis_client.keys() == []


@pytest.mark.parametrize("deadline", ["start_deadline", "deadline"])
def test_job_whose_deadline_passed_is_expired_at_its_claim(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, deadline: str
) -> None:
    (job_id,) = submit(table, a_job(**{deadline: 0.001}))
    wait_for_redis_clock(redis_client, table.get(job_id).created_at + 0.001)
    assert table.claim(job_id, owner="a worker") == (None, [])
    record = table.get(job_id)
    assert record.status is Status.EXPIRED
    assert record.error is not None
    assert record.error.code == "deadline_exceeded"
    assert f"the {deadline} passed" in record.error.message


# A running job: progress, attempts, fence, end.


def test_progress_is_seen_by_whoever_asks(table: JobTable, a_job: MakeJob) -> None:
    claimed = claim(table, *submit(table, a_job()))
    assert table.progress(claimed, Stage.GENERATE, 5, 20) is None
    record = table.get(claimed.job_id)
    assert (record.stage, record.step, record.steps) == (Stage.GENERATE, 5, 20)


def test_attempt_is_charged_once_when_the_job_enters_encode(table: JobTable, a_job: MakeJob) -> None:
    claimed = claim(table, *submit(table, a_job()))
    assert claimed.record.attempts == 0
    for _ in range(2):
        assert table.begin(claimed, Stage.ENCODE) is None
    assert table.get(claimed.job_id).stage == Stage.ENCODE
    for stage in Stage:
        table.progress(claimed, stage)
    assert table.get(claimed.job_id).attempts == 1


def test_running_job_learns_that_its_deadline_passed(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    claimed = claim(table, *submit(table, a_job(deadline=0.5)))
    wait_for_redis_clock(redis_client, claimed.record.created_at + 0.5)
    assert table.progress(claimed, Stage.GENERATE, 1, 20) is Status.EXPIRED
    record = table.finish(claimed, Status.EXPIRED)
    assert record.error is not None
    assert record.error.code == "deadline_exceeded"


def test_finish_publishes_images_and_timings(table: JobTable, a_job: MakeJob) -> None:
    claimed = claim(table, *submit(table, a_job()))
    record = table.finish(claimed, Status.SUCCEEDED, artifacts=[IMAGE], timings={"total": 1.5})
    assert record == table.get(claimed.job_id)
    assert [made.model_dump(exclude_defaults=True) for made in record.artifacts] == [IMAGE]
    assert record.timings == {"total": 1.5}
    assert (record.status, record.error, view_of(record).progress) == (Status.SUCCEEDED, None, 1.0)
    assert (record.ended_at or 0) >= (record.started_at or 0) >= record.created_at
    assert table.queues() == [QueueCounts(queue=QUEUE, waiting=0, released=0, running=0)]


def test_stale_token_changes_nothing(table: JobTable, a_job: MakeJob, redis_client: redis.Redis) -> None:
    claimed = claim(table, *submit(table, a_job()))
    key = names.job_key(claimed.job_id)
    before = redis_client.hgetall(key)
    stale = replace(claimed, token="of an earlier attempt")
    with pytest.raises(Fenced):
        table.begin(stale, Stage.ENCODE)
    with pytest.raises(Fenced):
        table.progress(stale, Stage.GENERATE)
    for status in (Status.SUCCEEDED, Status.FAILED, Status.CANCELED):
        with pytest.raises(Fenced):
            table.finish(stale, status)
    assert redis_client.hgetall(key) == before
    assert redis_client.xlen(names.events_key(claimed.job_id)) == 1


@pytest.mark.parametrize("first", [Status.SUCCEEDED, Status.FAILED, Status.CANCELED])
def test_first_end_wins(table: JobTable, a_job: MakeJob, first: Status) -> None:
    claimed = claim(table, *submit(table, a_job()))
    ended = table.finish(claimed, first, artifacts=[IMAGE])
    other = Status.FAILED if first is Status.SUCCEEDED else Status.SUCCEEDED
    with pytest.raises(Fenced):
        table.finish(claimed, other)
    with pytest.raises(Fenced):
        table.progress(claimed, Stage.UPLOAD)
    assert table.finish(claimed, first, artifacts=[]) == ended  # A repetition, which changes nothing.


# Cancel.


def test_queued_job_is_canceled_at_once(table: JobTable, a_job: MakeJob) -> None:
    (job_id,) = submit(table, a_job())
    assert table.cancel(job_id) == (Status.CANCELED, [])
    assert table.get(job_id).status is Status.CANCELED
    assert table.claim(job_id, owner="a worker") == (None, [])


def test_running_job_is_told_at_its_next_step(table: JobTable, a_job: MakeJob) -> None:
    claimed = claim(table, *submit(table, a_job()))
    assert table.progress(claimed, Stage.GENERATE, 1, 20) is None
    assert table.cancel(claimed.job_id) == (Status.PROCESSING, [])
    assert table.progress(claimed, Stage.GENERATE, 2, 20) is Status.CANCELED
    assert table.finish(claimed, Status.CANCELED).status is Status.CANCELED


def test_cancel_of_a_running_job_is_announced_to_its_worker(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis
) -> None:
    claimed = claim(table, *submit(table, a_job()))
    with redis_client.pubsub() as channel:  # type: ignore[no-untyped-call]
        channel.subscribe(names.CANCEL_CHANNEL)
        assert channel.get_message(timeout=DEADLINE_S)["type"] == "subscribe"
        table.cancel(claimed.job_id)
        message = channel.get_message(timeout=DEADLINE_S)
    assert message is not None
    assert message["data"] == claimed.job_id


def test_finish_that_is_committed_wins_over_a_cancel(table: JobTable, a_job: MakeJob) -> None:
    before, after = (claim(table, job_id) for job_id in submit(table, a_job(), a_job()))
    table.cancel(before.job_id)
    assert table.finish(before, Status.SUCCEEDED, artifacts=[IMAGE]).status is Status.SUCCEEDED
    table.finish(after, Status.SUCCEEDED, artifacts=[IMAGE])
    assert table.cancel(after.job_id) == (Status.SUCCEEDED, [])
    assert len(table.get(after.job_id).artifacts) == 1


def test_cancel_of_no_job_is_an_error(table: JobTable) -> None:
    with pytest.raises(JobNotFound, match="no-such-job"):
        table.cancel("no-such-job")


# Refused requests, retention, events.


def test_refused_request_is_a_failed_job_that_its_sender_can_ask_for(table: JobTable) -> None:
    table.reject("a-job", request={"width": 0}, queue=QUEUE, error=InvalidRequest("width", "is too small"))
    record = table.get("a-job")
    assert (record.status, record.payload, record.request) == (Status.FAILED, None, {"width": 0})
    assert record.error is not None
    assert (record.error.code, record.error.message) == ("invalid_request", "width: is too small")


def test_refusal_overwrites_no_job(table: JobTable, a_job: MakeJob) -> None:
    (job_id,) = submit(table, a_job())
    before = table.get(job_id)
    table.reject(job_id, request={}, queue=QUEUE, error=InvalidRequest("width", "is too small"))
    assert table.get(job_id) == before


def end_by_finish(table: JobTable, job: Submission) -> None:
    table.submit(job)
    table.finish(claim(table, job.job_id), Status.SUCCEEDED)


def end_by_cancel(table: JobTable, job: Submission) -> None:
    table.submit(job)
    table.cancel(job.job_id)


def end_by_refusal(table: JobTable, job: Submission) -> None:
    table.reject(job.job_id, request={}, queue=QUEUE, error=InvalidRequest("width", "is too small"))


@pytest.mark.parametrize("end", [end_by_finish, end_by_cancel, end_by_refusal])
def test_everything_about_an_ended_job_is_kept_for_a_while_and_no_longer(
    table: JobTable,
    a_job: MakeJob,
    redis_client: redis.Redis,
    settings: Settings,
    end: Callable[[JobTable, Submission], None],
) -> None:
    job = a_job(idempotency_key="k")
    end(table, job)
    about = [key for key in redis_client.scan_iter() if job.job_id in key or ":idempotency:" in key]
    assert {names.job_key(job.job_id), names.events_key(job.job_id)} <= set(about)
    lives = [redis_client.ttl(key) for key in about]
    assert all(settings.retention_s - 60 < ttl_s <= settings.retention_s for ttl_s in lives)


def test_nothing_about_a_job_that_goes_on_expires(table: JobTable, a_job: MakeJob, redis_client: redis.Redis) -> None:
    waiting, running = submit(table, a_job(idempotency_key="k"), a_job())
    table.begin(claim(table, running), Stage.ENCODE)
    assert table.get(waiting).status is Status.QUEUED
    about_jobs = set(redis_client.scan_iter()) - {names.state_key(QUEUE)}
    assert {redis_client.ttl(key) for key in about_jobs} == {-1}


def test_waiting_job_is_one_hash_without_a_stream(table: JobTable, a_job: MakeJob, redis_client: redis.Redis) -> None:
    (job_id,) = submit(table, a_job())
    assert [key for key in redis_client.scan_iter() if job_id in key] == [names.job_key(job_id)]


def test_events_of_one_job_are_capped(settings: Settings, a_job: MakeJob, redis_client: redis.Redis) -> None:
    table = JobTable(redis_client, settings)
    claimed = claim(table, *submit(table, a_job()))
    for step in range(1_300):
        table.progress(claimed, Stage.GENERATE, step, 1_300)
    table.finish(claimed, Status.SUCCEEDED)
    key = names.events_key(claimed.job_id)
    assert 1_000 <= redis_client.xlen(key) <= 1_150  # Redis trims by whole nodes of about a hundred.
    last = cast("list[Any]", redis_client.xrevrange(key, count=1))[0][1]
    assert last == {"type": "completed", "data": json.dumps({"status": "succeeded"}, separators=(",", ":"))}


# Redis itself.


def test_scripts_work_after_redis_forgot_them(
    table: JobTable, a_job: MakeJob, connection: redis.Redis, redis_client: redis.Redis
) -> None:
    def forgotten() -> JobTable:
        redis_client.script_flush()
        return table

    first, second = submit(forgotten(), a_job(), a_job())
    claimed = claim(forgotten(), first)
    forgotten().begin(claimed, Stage.ENCODE)
    assert forgotten().finish(claimed, Status.SUCCEEDED).status is Status.SUCCEEDED
    assert forgotten().cancel(second) == (Status.CANCELED, [])
    forgotten().reject("a-job", request={}, queue=QUEUE, error=InvalidRequest("width", "is too small"))
    assert table.get("a-job").status is Status.FAILED


def test_killed_connections_cost_nothing(settings: Settings, a_job: MakeJob, redis_client: redis.Redis) -> None:
    with connect(settings) as client:
        table = JobTable(client, settings)

        def cut() -> JobTable:
            redis_client.client_kill_filter(_type="normal", skipme=True)
            return table

        (job_id,) = submit(cut(), a_job())
        claimed = claim(cut(), job_id)
        cut().begin(claimed, Stage.ENCODE)
        assert cut().finish(claimed, Status.SUCCEEDED).status is Status.SUCCEEDED


@pytest.fixture(scope="module")
def nowhere() -> Settings:
    """Settings of a port on which nothing listens."""
    return Settings(redis_url=f"redis://user:a-secret@127.0.0.1:{free_port()}/2")


CALLS: dict[str, Callable[[JobTable, Submission], object]] = {
    "submit": lambda table, job: table.submit(job),
    "reject": lambda table, job: table.reject(job.job_id, request={}, queue=QUEUE, error=InvalidRequest("n", "no")),
    "claim": lambda table, job: table.claim(job.job_id, owner="a worker"),
    "cancel": lambda table, job: table.cancel(job.job_id),
    "get": lambda table, job: table.get(job.job_id),
    "get_many": lambda table, job: table.get_many([job.job_id]),
    "queues": lambda table, _: table.queues(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_redis_that_is_away_is_named_with_what_to_do(
    nowhere: Settings, a_job: MakeJob, call: Callable[[JobTable, Submission], object]
) -> None:
    port = nowhere.redis_url.rpartition(":")[2]
    with pytest.raises(RedisUnavailable, match=rf"redis://127.0.0.1:{port} .*make up.*IMAGEMILL_REDIS_URL") as away:
        call(JobTable(connect(nowhere), nowhere), a_job())
    assert "a-secret" not in str(away.value)


def test_redis_that_is_no_redis_is_an_error_of_ours(s3_server: Any, a_job: MakeJob) -> None:
    settings = Settings(redis_url=f"redis://127.0.0.1:{s3_server.port}/0")
    with pytest.raises(RedisUnavailable, match=str(s3_server.port)):
        JobTable(connect(settings), settings).submit(a_job())
