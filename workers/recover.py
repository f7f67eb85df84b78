"""What an earlier process of this worker left in the spool: stored now if its attempt still owns the job."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator

import structlog

from jobs.claim import Claim, Verdict
from jobs.errors import Fenced, JobNotFound, RedisUnavailable
from jobs.states import Status
from storage.errors import StorageError, StorageUnavailable
from workers.context import Context
from workers.errors import JobLeft
from workers.spool import Spooled
from workers.upload import upload

log = structlog.get_logger()

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0  # between tries to store, while the store is away


def recover_spool(context: Context, stopping: threading.Event) -> None:
    """Go through the spool once, in a thread of its own. Until an image is stored, its job stays with this worker."""
    for left_over in list(_take_up(context)):  # All leases first: one that waits must not cost the next its own.
        left_over.see_through(stopping)


def _take_up(context: Context) -> Iterator[_LeftOver]:
    for spooled in context.spool.left_over():
        try:
            claim = _claim(context, spooled)
            is_ours = claim is not None and context.table.renew([claim])[0] is not Verdict.FENCED
        except RedisUnavailable as exc:
            log.warning("spool: left for the next start", job_id=spooled.job_id, reason=str(exc))
            continue
        if claim is not None and is_ours:
            left_over = _LeftOver(context, claim, spooled)
            context.leases.hold(claim, left_over.leave)
            yield left_over
        else:
            log.info("spool: the job is another attempt's now", job_id=spooled.job_id)
            shutil.rmtree(spooled.folder, ignore_errors=True)


class _LeftOver:
    """An attempt whose images are made, and whose process died before they were stored."""

    def __init__(self, context: Context, claim: Claim, spooled: Spooled) -> None:
        self._context = context
        self._claim = claim
        self._spooled = spooled
        self._reason: Exception | None = None
        self._leaving = threading.Event()

    def leave(self, reason: Exception) -> None:
        self._reason = self._reason or reason
        self._leaving.set()

    def see_through(self, stopping: threading.Event) -> None:
        """Store and end the job. What is neither stored nor refused stays for the next start."""
        try:
            self._store(stopping)
        except (StorageError, Fenced) as exc:
            log.warning("spool: not stored; the job will run again", job_id=self._claim.job_id, reason=str(exc))
        except RedisUnavailable as exc:
            log.warning("spool: left for the next start", job_id=self._claim.job_id, reason=str(exc))
            return
        finally:
            self._context.leases.let_go(self._claim)
        if not stopping.is_set():
            shutil.rmtree(self._spooled.folder, ignore_errors=True)

    def _store(self, stopping: threading.Event) -> None:
        pause_s = _FIRST_PAUSE_S
        while not (self._reason or stopping.is_set()):
            try:
                return self._finish()
            except StorageUnavailable as exc:
                log.warning("spool: S3 is away", job_id=self._claim.job_id, reason=str(exc))
            self._leaving.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        if isinstance(self._reason, JobLeft):
            self._context.table.finish(self._claim, self._reason.status)
        return None

    def _finish(self) -> None:
        entry = self._context.catalogue.models[self._claim.spec.model]
        images = upload(self._context.store, self._claim, entry, self._spooled.files, self._spooled.timings)
        results = [image.model_dump(mode="json") for image in images]
        record = self._context.table.finish(
            self._claim, Status.SUCCEEDED, images=results, timings=self._spooled.timings
        )
        self._context.metrics.note_end(record)
        log.info("spool: stored what waited", job_id=self._claim.job_id, images=len(images))


def _claim(context: Context, spooled: Spooled) -> Claim | None:
    try:
        record = context.table.get(spooled.job_id)
    except JobNotFound:
        return None
    if record.spec is None or record.spec.model not in context.served:
        return None
    return Claim(job_id=spooled.job_id, token=spooled.token, epoch=spooled.epoch, record=record, spec=record.spec)
