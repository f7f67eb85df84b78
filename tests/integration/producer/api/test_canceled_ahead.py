"""A DELETE that comes before the job does: its sender sent it to plain Celery, and no worker has seen it yet."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis
from fastapi.testclient import TestClient

from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.registry import parse_request, settle
from jobs.process.settings import Settings
from jobs.submit import submission_of
from jobs.table.states import Status
from jobs.table.table import JobTable
from producer.keys.store import KeyStore

JOB = "sent-by-celery"

Comes = Callable[[str], Status | str]


@pytest.fixture
def comes(table: JobTable, catalogue: Catalogue) -> Comes:
    """A message of a caller's, out of which a worker makes a job; where that stands then."""

    def come(caller: str) -> Status | str:
        request = parse_request({"prompt": "a red circle", "caller": caller})
        spec = settle(request, catalogue)
        table.submit(submission_of(request, spec, catalogue, job_id=JOB, origin="celery", tag="a:0 gpu.shapes-flow"))
        return table.get(JOB).status

    return come


def test_message_that_is_canceled_over_http_before_it_is_a_job_never_runs(api: TestClient, comes: Comes) -> None:
    answer = api.delete(f"/v1/jobs/{JOB}")
    assert answer.status_code == 404
    assert "a Celery message with this id that comes within a day will not run" in answer.text
    assert comes("whoever") is Status.CANCELED


@pytest.mark.parametrize(("caller", "status"), [("blog", Status.CANCELED), ("shop", Status.QUEUED)])
def test_key_cancels_messages_of_its_own_caller_alone(
    api: TestClient, comes: Comes, redis_client: redis.Redis, settings: Settings, caller: str, status: Status
) -> None:
    token, _ = KeyStore(redis_client, settings).create("blog")
    headers = {"Authorization": f"Bearer {token}"}
    assert api.delete(f"/v1/jobs/{JOB}", headers=headers).status_code == 404
    assert comes(caller) is status


def test_id_that_no_job_can_have_is_refused_as_ever(api: TestClient) -> None:
    answer = api.delete("/v1/jobs/with%20spaces")
    assert (answer.status_code, "will not run" in answer.text) == (404, False)
