"""The auditor: whatever was broken, these hold for every job afterwards."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from jobs import names
from jobs.table.states import Status
from jobs.view import JobView
from producer import Job
from tests.faults.harness.system import System


def audit(system: System, jobs: Sequence[Job]) -> Counter[str]:
    """
    Check that every job ended exactly once, and that what it published is whole and of one attempt.

    Returns:
        How many jobs ended in which state.
    """
    for job in jobs:
        record = job.status()
        assert record.has_ended, f"{job.id} is still {record.status}"
        ends = [data for _, kind, data in system.events(job) if kind == "completed"]
        assert ends == [{"status": record.status}], f"{job.id} ended {len(ends)} times: {ends}"
        if record.result is not None:
            assert not record.images and not system.objects(job), f"{job.id} is deleted and has objects"
        elif record.status is Status.SUCCEEDED:
            _check_images(system, job, record)
        else:
            assert not record.images, f"{job.id} is {record.status} and has images"
    _check_nothing_is_left(system)
    return Counter(job.status().status for job in jobs)


def _check_images(system: System, job: Job, record: JobView) -> None:
    assert record.spec is not None
    assert len(record.images) == record.spec.n, f"{job.id} has {len(record.images)} of {record.spec.n} images"
    folders = {image.key.rsplit("/", 1)[0] for image in record.images}
    assert len(folders) == 1, f"{job.id} published images of several attempts: {folders}"
    fields = system.redis.hmget(names.job_key(job.id), ["epoch", "token"])
    epoch_token = "-".join(str(field) for field in fields)
    assert folders.pop().endswith(f"/{job.id}/{epoch_token}"), f"{job.id} published what another attempt made"
    for image in record.images:
        body = system.client.parts.store.get(image.key)
        assert hashlib.sha256(body).hexdigest() == image.sha256, f"{image.key} is not what was recorded"
        assert len(body) == image.bytes


def _check_nothing_is_left(system: System) -> None:
    for counts in system.client.queues():
        assert (counts.waiting, counts.released, counts.running) == (0, 0, 0), f"left in the table: {counts}"
    left = list(system.redis.scan_iter("imagemill:turns:*"))
    assert not left, f"windows still hold jobs: {left}"
