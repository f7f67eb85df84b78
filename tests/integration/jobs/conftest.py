"""
Job tables on a real server.

Most tests run twice: once as usual, and once on a connection that sends every command twice and keeps the second
answer, which is what redis-py does when a connection breaks between a command and its reply. In a change's loop that is
left to `test_table.py` and to the machine of `test_state_machine.py`, which sends some calls twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any, cast

import hypothesis
import pytest
import redis

from jobs.announce.celery import PROTOCOL, CeleryResults
from jobs.announce.notifier import Notifier
from jobs.broker.app import make_app
from jobs.broker.dispatch import Dispatcher
from jobs.broker.reconcile import Reconciler
from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.registry import parse_request, settle
from jobs.process.settings import Settings
from jobs.submit import submission_of
from jobs.table.outbox import Outbox
from jobs.table.queues import QueueControl
from jobs.table.submission import Submission
from jobs.table.table import JobTable
from tests.integration.jobs.steps import WANTS, MakeJob
from tests.integration.jobs.twice import RepeatingRedis

# For whoever wants to know only whether a test fails: a shortest example may take minutes to find.
hypothesis.settings.register_profile(
    "unshrunk",
    hypothesis.settings.get_profile("long"),
    phases=[each for each in hypothesis.Phase if each not in (hypothesis.Phase.shrink, hypothesis.Phase.explain)],
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests of a repeating connection `long`, but for those of the table itself."""
    for each in items:
        kind = (
            each.callspec.params.get("connection")
            if isinstance(each, pytest.Function) and hasattr(each, "callspec")
            else None
        )
        if kind is RepeatingRedis and each.path.name != "test_table.py":
            each.add_marker(pytest.mark.long)


@pytest.fixture(params=[redis.Redis, RepeatingRedis], ids=["once", "repeated"])
def connection(request: pytest.FixtureRequest, settings: Settings) -> Iterator[redis.Redis]:
    with cast("redis.Redis", request.param.from_url(settings.redis_url, decode_responses=True)) as client:
        yield client


@pytest.fixture
def table(connection: redis.Redis, settings: Settings) -> JobTable:
    return JobTable(connection, settings)


@pytest.fixture
def narrow_settings(settings: Settings) -> Settings:
    """Two jobs of a queue are released at a time."""
    return settings.model_copy(update={"release_window": 2})


@pytest.fixture
def narrow(connection: redis.Redis, narrow_settings: Settings) -> JobTable:
    return JobTable(connection, narrow_settings)


@pytest.fixture
def dispatcher(table: JobTable, settings: Settings) -> Dispatcher:
    return Dispatcher(make_app(settings), table, settings)


@pytest.fixture
def control(
    connection: redis.Redis, narrow: JobTable, dispatcher: Dispatcher, narrow_settings: Settings
) -> QueueControl:
    return QueueControl(connection, narrow, dispatcher.offer, narrow_settings)


@pytest.fixture
def reconciler(redis_client: redis.Redis, dispatcher: Dispatcher, narrow_settings: Settings) -> Reconciler:
    """One for which Redis has been the same for long."""
    reconciler = Reconciler(redis_client, dispatcher, narrow_settings)
    reconciler.run_once()
    redis_client.hset("imagemill:server", "hold_until", 0)
    return reconciler


@pytest.fixture(scope="module")
def a_job(catalogue: Catalogue) -> MakeJob:
    def make(tag: str | None = None, quota: int | None = None, weight: float = 1.0, **fields: Any) -> Submission:
        request = parse_request({"prompt": "a red circle", "seed": 7, **fields})
        spec = settle(request, catalogue)
        job_id = str(uuid.uuid4())
        return submission_of(request, spec, catalogue, job_id=job_id, tag=tag, quota=quota, weight=weight)

    return make


@pytest.fixture
def outbox(connection: redis.Redis, settings: Settings) -> Outbox:
    return Outbox(connection, settings, PROTOCOL)


@pytest.fixture
def results(settings: Settings) -> Iterator[CeleryResults]:
    results = CeleryResults(settings)
    yield results
    results.close()


@pytest.fixture
def notifier(outbox: Outbox, results: CeleryResults) -> Notifier:
    return Notifier(outbox, PROTOCOL, results.notify)


@pytest.fixture
def send(table: JobTable, catalogue: Catalogue) -> Callable[..., str]:
    """Write a job as the message of a sender is written; `wants` is what that said of itself."""

    def write(wants: dict[str, Any] = WANTS, **fields: Any) -> str:
        request = parse_request({"prompt": "a red circle", **fields})
        spec = settle(request, catalogue)
        job_id = str(uuid.uuid4())
        notifications = {PROTOCOL: {**WANTS, **wants}}
        table.submit(
            submission_of(request, spec, catalogue, job_id=job_id, origin="celery", notifications=notifications)
        )
        return job_id

    return write
