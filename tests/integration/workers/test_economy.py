"""
What a job that nobody reads asks of Redis, from its submission to its end, counted by Redis itself.

Whatever workers ask while they wait is not in it, nor the command by which one takes a message.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from celery.result import AsyncResult

from jobs import names
from jobs.announce.celery import PROTOCOL
from jobs.broker.app import make_app
from jobs.broker.dispatch import Dispatcher
from jobs.kinds.generate import spec_of
from jobs.kinds.registry import parse_request
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.submit import submission_of
from jobs.table.inbox import Inbox
from jobs.table.states import Status
from jobs.table.table import JobTable
from jobs.view import spec_to_run
from ops.process import wait_until
from tests.celery_sender import celery_sender
from workers.attempt.attempt import Attempt
from workers.attempt.context import Context
from workers.attempt.progress import ProgressWriter
from workers.attempt.watched_jobs import WatchedJobs
from workers.delivery.adoption import Adoption

JOBS = 40
MOST, MOST_IF_TOLD = 60, 80  # commands, with those that scripts run
FIELDS: dict[str, Any] = {"prompt": "a red circle", "model": "sim", "num_inference_steps": 20}
DEADLINE_S = 60.0


@pytest.fixture
def worker(context: Context, redis_client: redis.Redis, settings: Settings) -> Iterator[Context]:
    """One that knows who reads its jobs."""
    progress = ProgressWriter(context.table, context.leases.deliver, watched_jobs=WatchedJobs(context.name))
    context.announcer.start()
    table = JobTable(redis_client, settings.model_copy(update={"max_kept_mib": 64}))  # A bound is asked for, as usual.
    dispatcher = Dispatcher(make_app(settings), table, settings)
    yield replace(context, table=table, dispatcher=dispatcher, progress=progress)
    context.announcer.stop()
    progress.stop()


def submit(worker: Context) -> str:
    request, spec = parse_request(FIELDS), spec_of(FIELDS, worker.catalogue)
    submitted = worker.table.submit(submission_of(request, spec, worker.catalogue, job_id=str(uuid.uuid4())))
    worker.pass_on(submitted.released)
    return submitted.job_id


def run(worker: Context, job_id: str) -> None:
    """As a worker that took the job's message."""
    claim, released = worker.table.claim(job_id, owner=worker.name, gives_way=True, read=spec_to_run)
    worker.pass_on(released)
    assert claim is not None
    worker.announcer.note_start(claim, worker.name)
    assert Attempt(claim, worker).run().status is Status.SUCCEEDED


def commands(client: redis.Redis) -> dict[str, int]:
    ours = ("info", "script|load", "smembers")  # of which the last asks which workers there are, once in two seconds
    found = {name.removeprefix("cmdstat_"): each["calls"] for name, each in client.info("commandstats").items()}
    return {name: calls for name, calls in found.items() if name not in ours and "client" not in name}


def of_a_job(client: redis.Redis, before: dict[str, int]) -> dict[str, float]:
    found = {name: (calls - before.get(name, 0)) / JOBS for name, calls in commands(client).items()}
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def test_job_of_ours(worker: Context, redis_client: redis.Redis) -> None:
    run(worker, submit(worker))
    before = commands(redis_client)
    for job_id in [submit(worker) for _ in range(JOBS)]:
        run(worker, job_id)
    found = of_a_job(redis_client, before)
    assert sum(found.values()) + 1 <= MOST, found


def test_job_from_celery_that_is_told(worker: Context, redis_client: redis.Redis, settings: Settings) -> None:
    with (
        celery_sender(settings.redis_url) as sender,
        connect(settings, decodes=False) as client,
    ):
        adoption = Adoption(worker, Inbox(client, settings, ["gpu.sim"]))

        def send() -> str:
            return str(sender.send_task(names.GENERATE_TASK, kwargs=FIELDS, queue="gpu.sim").id)

        def is_told() -> bool:
            return not redis_client.exists(names.outbox_key(PROTOCOL))

        first = send()
        adoption.run_once()
        run(worker, first)
        assert wait_until(is_told, DEADLINE_S)
        before = commands(redis_client)
        ids = [send() for _ in range(JOBS)]
        assert adoption.run_once() == JOBS
        for job_id in ids:
            run(worker, job_id)
        assert wait_until(is_told, DEADLINE_S)
        found = of_a_job(redis_client, before)
        assert sum(found.values()) + 1 <= MOST_IF_TOLD, found
        assert {AsyncResult(each, app=sender).state for each in ids} == {"SUCCESS"}
