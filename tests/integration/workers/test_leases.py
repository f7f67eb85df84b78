"""The keeper of leases, on a real server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
import redis

from jobs import names
from jobs.catalogue.catalogue import Catalogue
from jobs.errors import Fenced
from jobs.kinds.registry import parse_request, settle
from jobs.process.settings import Settings
from jobs.table.claim import Claim
from jobs.table.states import Status
from jobs.table.submission import Submission
from jobs.table.table import JobTable
from ops.process import wait_until
from tests.claims import claim_job
from workers.attempt.errors import Draining, JobLeft
from workers.attempt.leases import LeaseKeeper

QUEUE = "gpu.shapes-flow"
DEADLINE_S = 60.0

ClaimOne = Callable[[], Claim]


class Told:
    """An attempt, as far as the keeper knows it."""

    def __init__(self) -> None:
        self.reasons: list[Exception] = []

    def __call__(self, reason: Exception) -> None:
        self.reasons.append(reason)

    def is_to_leave_as(self, status: Status) -> bool:
        return any(isinstance(each, JobLeft) and each.status is status for each in self.reasons)


@pytest.fixture
def short_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"lease_s": 0.4})


@pytest.fixture
def claim_one(redis_client: redis.Redis, settings: Settings, catalogue: Catalogue) -> ClaimOne:
    table = JobTable(redis_client, settings)

    def claim() -> Claim:
        request = parse_request({"prompt": "a red circle"})
        job_id = str(uuid.uuid4())
        table.submit(Submission(job_id=job_id, spec=settle(request, catalogue), digest=request.digest(), queue=QUEUE))
        return claim_job(table, job_id)

    return claim


@pytest.fixture
def keeper(redis_client: redis.Redis, short_settings: Settings) -> Iterator[LeaseKeeper]:
    keeper = LeaseKeeper(redis_client, JobTable(redis_client, short_settings), short_settings, lambda: True)
    keeper.start()
    yield keeper
    keeper.stop()


def lease_end(client: redis.Redis, claim: Claim) -> float:
    return client.zscore(names.running_key(QUEUE), claim.job_id) or 0.0


def test_lease_is_renewed_as_long_as_the_job_is_held(
    keeper: LeaseKeeper, claim_one: ClaimOne, redis_client: redis.Redis
) -> None:
    held, not_held = claim_one(), claim_one()
    before = lease_end(redis_client, not_held)
    keeper.hold(held, Told())
    ends = {lease_end(redis_client, held)}
    assert wait_until(lambda: len(ends.union({lease_end(redis_client, held)})) > len(ends), DEADLINE_S)
    assert lease_end(redis_client, not_held) == before
    keeper.let_go(held)
    assert keeper.held() == []


def test_cancel_reaches_the_attempt(
    keeper: LeaseKeeper, claim_one: ClaimOne, redis_client: redis.Redis, settings: Settings
) -> None:
    claim, told, other = claim_one(), Told(), Told()
    keeper.hold(claim, told)
    keeper.hold(claim_one(), other)
    JobTable(redis_client, settings).cancel(claim.job_id)
    assert wait_until(lambda: told.is_to_leave_as(Status.CANCELED), DEADLINE_S)
    assert other.reasons == []


def test_cancel_is_heard_before_the_next_renewal(
    claim_one: ClaimOne, redis_client: redis.Redis, settings: Settings
) -> None:
    slow = settings.model_copy(update={"lease_s": 3_600.0})
    keeper = LeaseKeeper(redis_client, JobTable(redis_client, slow), slow, lambda: True)
    keeper.start()
    claim, told = claim_one(), Told()
    keeper.hold(claim, told)

    def is_listening() -> bool:
        return bool(redis_client.pubsub_numsub(names.CANCEL_CHANNEL)[0][1] == 1)

    assert wait_until(is_listening, DEADLINE_S)
    JobTable(redis_client, settings).cancel(claim.job_id)
    assert wait_until(lambda: told.is_to_leave_as(Status.CANCELED), DEADLINE_S)
    keeper.stop()


def test_deadline_reaches_the_attempt(keeper: LeaseKeeper, claim_one: ClaimOne, redis_client: redis.Redis) -> None:
    claim, told = claim_one(), Told()
    redis_client.hset(names.job_key(claim.job_id), "end_by", 1)
    keeper.hold(claim, told)
    assert wait_until(lambda: told.is_to_leave_as(Status.EXPIRED), DEADLINE_S)


def test_attempt_that_lost_its_job_is_told(keeper: LeaseKeeper, claim_one: ClaimOne, redis_client: redis.Redis) -> None:
    claim, told = claim_one(), Told()
    redis_client.hset(names.job_key(claim.job_id), "token", "another's")
    keeper.hold(claim, told)
    assert wait_until(lambda: any(isinstance(each, Fenced) for each in told.reasons), DEADLINE_S)


def test_all_are_asked_to_leave(keeper: LeaseKeeper, claim_one: ClaimOne) -> None:
    attempts = [Told(), Told()]
    for told in attempts:
        keeper.hold(claim_one(), told)
    reason = Draining("the worker stops")
    keeper.ask_all(reason)
    assert all(reason in told.reasons for told in attempts)


def test_worker_that_is_stuck_renews_nothing(
    claim_one: ClaimOne, redis_client: redis.Redis, short_settings: Settings
) -> None:
    beats: list[int] = []

    def beat() -> bool:
        beats.append(1)
        return False

    keeper = LeaseKeeper(redis_client, JobTable(redis_client, short_settings), short_settings, beat)
    claim = claim_one()
    before = lease_end(redis_client, claim)
    keeper.hold(claim, Told())
    keeper.start()
    assert wait_until(lambda: not keeper._threads[0].is_alive(), DEADLINE_S)
    assert len(beats) == 1
    assert lease_end(redis_client, claim) == before
    keeper.stop()


def test_killed_connections_cost_no_lease(
    keeper: LeaseKeeper, claim_one: ClaimOne, redis_client: redis.Redis, settings: Settings
) -> None:
    claim, told = claim_one(), Told()
    keeper.hold(claim, told)
    for kind in ("normal", "pubsub"):
        redis_client.client_kill_filter(_type=kind, skipme=True)
    before = lease_end(redis_client, claim)
    assert wait_until(lambda: lease_end(redis_client, claim) > before, DEADLINE_S)
    JobTable(redis_client, settings).cancel(claim.job_id)
    assert wait_until(lambda: told.is_to_leave_as(Status.CANCELED), DEADLINE_S)
