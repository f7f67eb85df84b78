"""What jobs of all shapes are made by, in one process, and how their results are deleted."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from typing import Any

import redis
from celery import Celery

from jobs import names
from jobs.announce.notifier import Notifier
from jobs.broker.reconcile import Reconciler
from jobs.deletions.deleter import Deleter
from jobs.deletions.deletions import Deletions
from jobs.kinds.generate import spec_of
from jobs.kinds.registry import parse_request
from jobs.process.settings import Settings
from jobs.submit import submission_of
from jobs.table.claim import Claim
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.submission import BatchLine
from jobs.view import spec_to_run
from tests.integration.workers.outside import QUEUE
from tests.integration.workers.stores import Store
from tests.words import MARK
from workers.attempt.attempt import Attempt
from workers.attempt.context import Context
from workers.delivery.adoption import Adoption

FIELDS: dict[str, Any] = {"prompt": f"a red {MARK}", "model": "sim", "seed": 7, "metadata": {"order": MARK}}


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The parts of it."""

    context: Context
    adoption: Adoption
    notifier: Notifier
    sender: Celery
    store: Store
    client: redis.Redis
    raw: redis.Redis
    deletions: Deletions
    deleter: Deleter
    reconciler: Reconciler
    control: QueueControl
    settings: Settings

    def submit(self, batch: BatchLine | None = None, max_kept_mib: int | None = None, **more: Any) -> str:
        fields = {**FIELDS, **more}
        request, spec = parse_request(fields), spec_of(fields, self.context.catalogue)
        made = submission_of(request, spec, self.context.catalogue, job_id=str(uuid.uuid4()))
        submitted = self.context.table.submit(replace(made, batch=batch, max_kept_mib=max_kept_mib))
        self.context.pass_on(submitted.released)
        return submitted.job_id

    def send(self, fields: dict[str, Any] = FIELDS, **options: Any) -> str:
        """By plain Celery, and adopted."""
        task_id = str(self.sender.send_task(names.GENERATE_TASK, kwargs=fields, queue=QUEUE, **options).id)
        self.adoption.run_once()
        return task_id

    def claim(self, job_id: str) -> Claim:
        claim, _ = self.context.table.claim(job_id, owner=self.context.name, read=spec_to_run)
        assert claim is not None
        return claim

    def run(self, job_id: str) -> str:
        assert Attempt(self.claim(job_id), self.context).step() is not None
        return job_id

    def fail(self, job_id: str) -> str:
        error = {"code": "generation_error", "message": f"{FIELDS['prompt']!r} is too much"}
        self.context.table.finish(self.claim(job_id), Status.FAILED, error=error)
        return job_id

    def lose(self, job_id: str) -> Claim:
        """The last attempt that it may have is lost with its worker."""
        self.client.hset(names.job_key(job_id), "attempts", self.settings.max_attempts)
        claim = self.claim(job_id)
        self.client.zadd(names.running_key(QUEUE), {job_id: 1.0}, xx=True)
        self.reconciler.run_once()
        assert self.context.table.get(job_id).status is Status.FAILED
        return claim

    def let_pass(self, job_id: str, seconds: float) -> None:
        """As if its last find were so much longer ago; it is due."""
        note = json.loads(str(self.client.hget(names.DELETION_NOTES, job_id)))
        note["since"] = str(float(note["since"]) - seconds)
        self.client.hset(names.DELETION_NOTES, job_id, json.dumps(note))
        self.client.zadd(names.DELETIONS, {job_id: 1.0}, xx=True)

    def see_through(self, job_id: str) -> None:
        """What workers do within a lease."""
        self.deleter.run_once()
        while self.notifier.run_once():
            pass
        self.let_pass(job_id, self.settings.lease_s)
        self.deleter.run_once()

    def objects(self, job_id: str) -> list[str]:
        return [each.key for each in self.store.objects() if job_id in each.key]

    def is_due(self, job_id: str, within_s: float = 0.0) -> bool:
        """Whether the next look at a deleted job is, by Redis' clock."""
        seconds, microseconds = self.client.time()
        due = self.client.zscore(names.DELETIONS, job_id)
        return due is not None and due <= seconds + microseconds / 1e6 + within_s
