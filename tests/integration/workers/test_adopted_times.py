"""Times that a message says itself, however far away: held to what holds for those of a request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.result import AsyncResult

from jobs import names
from jobs.announce.notifier import Notifier
from jobs.fields import MAX_S
from jobs.table.states import Status
from jobs.view import spec_to_run
from tests.integration.workers.outside import FIELDS, QUEUE
from workers.attempt.context import Context
from workers.delivery.adoption import Adoption

DAY_S = 24 * 3600


def send(sender: Celery, adoption: Adoption, **options: Any) -> str:
    options = {"kwargs": FIELDS, "queue": QUEUE, **options}
    job_id = str(sender.send_task(names.GENERATE_TASK, **options).id)
    assert adoption.run_once() == 1
    return job_id


@pytest.mark.parametrize(
    ("options", "name"), [({"expires": 60 * DAY_S}, "start_deadline"), ({"time_limit": 60 * DAY_S}, "time_limit")]
)
def test_bound_that_is_too_far_away_is_the_farthest_and_the_job_runs(
    adoption: Adoption, context: Context, sender: Celery, options: dict[str, Any], name: str
) -> None:
    job_id = send(sender, adoption, **options)
    claim, _ = context.table.claim(job_id, owner="a worker", gives_way=True, read=spec_to_run)
    assert claim is not None
    assert getattr(claim.spec, name) == MAX_S


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"countdown": 40 * DAY_S}, "start_after: should be less than or equal to 2592000"),
        ({"countdown": 60, "kwargs": {**FIELDS, "deadline": 5}}, "deadline: must be more than start_after"),
        ({"countdown": 60, "expires": 30}, "start_deadline: must be more than start_after"),
    ],
)
def test_beginning_that_no_request_may_say_is_refused_as_one_s_would_be(
    adoption: Adoption, context: Context, sender: Celery, options: dict[str, Any], sentence: str
) -> None:
    record = context.table.get(send(sender, adoption, **options))
    assert record.status is Status.FAILED
    assert record.error is not None
    assert sentence in record.error.message


def test_message_that_expired_before_its_request_may_begin_has_expired(
    adoption: Adoption, context: Context, sender: Celery, notifier: Notifier
) -> None:
    expired = datetime.now(UTC) - timedelta(hours=1)
    job_id = send(sender, adoption, expires=expired, kwargs={**FIELDS, "start_after": 3600})
    context.table.claim(job_id, owner="a worker", gives_way=True)
    notifier.run_once()
    assert AsyncResult(job_id, app=sender).state == "REVOKED"  # type: ignore[comparison-overlap]
