"""What a worker tells of jobs that somebody reads, and of the others, on a real server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import redis

from jobs import names
from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.picture import Stage
from jobs.kinds.registry import parse_request, settle
from jobs.process.settings import Settings
from jobs.table.claim import Claim
from jobs.table.events import follow
from jobs.table.submission import Submission
from jobs.table.table import JobTable
from jobs.table.watching import WATCH_S
from ops.process import wait_until
from tests.claims import claim_job
from workers.attempt.leases import LeaseKeeper
from workers.attempt.progress import ProgressWriter
from workers.attempt.watched_jobs import WatchedJobs

OWNER = "worker@here"
DEADLINE_S = 60.0

ClaimOne = Callable[..., Claim]


@pytest.fixture
def table(redis_client: redis.Redis, settings: Settings) -> JobTable:
    return JobTable(redis_client, settings.model_copy(update={"lease_s": 0.4}))


@pytest.fixture
def watched_jobs() -> WatchedJobs:
    return WatchedJobs(OWNER)


@pytest.fixture
def keeper(
    redis_client: redis.Redis, settings: Settings, table: JobTable, watched_jobs: WatchedJobs
) -> Iterator[LeaseKeeper]:
    short = settings.model_copy(update={"lease_s": 0.4})
    keeper = LeaseKeeper(redis_client, table, short, lambda: True, watched_jobs=watched_jobs)
    keeper.start()
    channel = names.watched_channel(OWNER)
    assert wait_until(lambda: bool(redis_client.pubsub_numsub(channel)[0][1]), DEADLINE_S)
    yield keeper
    keeper.stop()


@pytest.fixture
def writer(table: JobTable, keeper: LeaseKeeper, watched_jobs: WatchedJobs) -> Iterator[ProgressWriter]:
    writer = ProgressWriter(table, keeper.deliver, watched_jobs=watched_jobs)
    yield writer
    writer.stop()


@pytest.fixture
def begin(table: JobTable, keeper: LeaseKeeper, writer: ProgressWriter, catalogue: Catalogue) -> ClaimOne:
    """Claim a job and let its first stage begin, as an attempt does."""

    def begin_one(before: Callable[[str], None] = lambda job_id: None, **fields: Any) -> Claim:
        request = parse_request({"prompt": "a red circle", **fields})
        job_id = str(uuid.uuid4())
        spec = settle(request, catalogue)
        table.submit(Submission(job_id=job_id, spec=spec, digest=request.digest(), queue="gpu.shapes-flow"))
        before(job_id)
        claim = claim_job(table, job_id, OWNER)
        keeper.hold(claim, lambda reason: None, lambda: writer.unseen(claim))
        writer.follow(claim)
        table.begin(claim, Stage.ENCODE)
        return claim

    return begin_one


def stream(client: redis.Redis, claim: Claim) -> list[str]:
    found = cast("list[tuple[str, dict[str, str]]]", client.xrange(names.events_key(claim.job_id)))
    return [fields["type"] for _, fields in found]


def is_at(table: JobTable, claim: Claim, stage: Stage, step: int) -> bool:
    record = table.get(claim.job_id)
    return (record.stage, record.step) == (stage, step)


def test_steps_that_nobody_reads_go_with_renewals_and_are_no_events(
    begin: ClaimOne, writer: ProgressWriter, table: JobTable, redis_client: redis.Redis
) -> None:
    claim = begin()
    for step in range(4):
        writer.note(claim, Stage.GENERATE, step, 20)
    assert wait_until(lambda: is_at(table, claim, Stage.GENERATE, 3), DEADLINE_S)
    assert stream(redis_client, claim) == ["status"]


def test_reader_who_comes_later_sees_the_step_at_once_and_each_from_then_on(
    begin: ClaimOne, writer: ProgressWriter, table: JobTable, redis_client: redis.Redis, settings: Settings
) -> None:
    claim, other = begin(), begin()
    for each in (claim, other):
        writer.note(each, Stage.GENERATE, 3, 20)
    told = follow(redis_client, settings, claim.job_id, timeout_s=DEADLINE_S, watch=lambda: table.watch([claim.job_id]))
    assert next(told).type == "status"
    places: list[tuple[str, int]] = []
    while not places or places[-1] != ("generate", 3):
        event = next(told)
        places.append((event.data["stage"], event.data["step"]))
    writer.note(claim, Stage.GENERATE, 4, 20)
    writer.note(other, Stage.GENERATE, 4, 20)
    assert next(told).data == {"stage": "generate", "step": 4, "steps": 20}
    writer.note(claim, Stage.POSTPROCESS)
    assert next(told).data["stage"] == "postprocess"
    assert stream(redis_client, other) == ["status"]


def test_reader_from_the_first_sees_every_stage(
    begin: ClaimOne, writer: ProgressWriter, table: JobTable, redis_client: redis.Redis, settings: Settings
) -> None:
    claim = begin(before=lambda job_id: table.watch([job_id]))
    for stage in (Stage.GENERATE, Stage.POSTPROCESS, Stage.UPLOAD):
        writer.note(claim, stage)
    told = follow(redis_client, settings, claim.job_id, timeout_s=DEADLINE_S)
    stages = [next(told).data.get("stage") for _ in range(5)]
    assert stages == [None, "encode", "generate", "postprocess", "upload"]


def test_reading_ends_after_its_time(
    table: JobTable, begin: ClaimOne, redis_client: redis.Redis, settings: Settings
) -> None:
    now = 100.0
    watched_jobs = WatchedJobs(OWNER, lambda: now)
    claim = begin()
    watched_jobs.follow(claim)
    assert not watched_jobs.wants(claim)
    watched_jobs.note(claim.job_id)
    now += WATCH_S - 1
    assert watched_jobs.wants(claim)
    now += 2
    assert not watched_jobs.wants(claim)
    watched_jobs.forget(claim)
    watched_jobs.note(claim.job_id)
    assert not watched_jobs.wants(claim)


def test_reader_between_claim_and_attempt_is_heard(begin: ClaimOne) -> None:
    watched_jobs = WatchedJobs(OWNER)
    claim = begin()
    watched_jobs.note(claim.job_id)
    watched_jobs.follow(claim)
    assert watched_jobs.wants(claim)


def test_attempt_whose_time_is_over_asks_though_nobody_reads(begin: ClaimOne) -> None:
    now = 100.0
    watched_jobs = WatchedJobs(OWNER, lambda: now)
    claim = begin(deadline=60)
    assert claim.left_s is not None
    assert 50 < claim.left_s <= 60
    watched_jobs.follow(claim)
    assert not watched_jobs.wants(claim)
    now += 61
    assert watched_jobs.wants(claim)


def test_data_is_sent_though_nobody_reads(begin: ClaimOne, writer: ProgressWriter, redis_client: redis.Redis) -> None:
    claim = begin()
    writer.note(claim, Stage.GENERATE, 1, 20)
    writer.send(claim, {"a": 1})
    assert wait_until(lambda: stream(redis_client, claim) == ["status", "data"], DEADLINE_S)
