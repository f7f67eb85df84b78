"""
What an earlier process of this worker left in the spool: stored now, if its attempt still owns the job or nobody does.

A job that was given back when its worker stopped waits in the queue, and its picture here: it is claimed anew, and its
next attempt begins where the last one was, with files that are made.
"""

from __future__ import annotations

import threading
from contextlib import suppress

import structlog

from jobs.claim import Claim, Verdict
from jobs.errors import Fenced, JobNotFound, RecordUnreadable, RedisUnavailable
from jobs.states import Status
from storage.errors import StorageError, StorageMisconfigured, StorageUnavailable
from workers.context import Context
from workers.errors import Draining, JobLeft
from workers.spool import Spooled
from workers.upload import made_by, upload

log = structlog.get_logger()

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0  # between tries to store, while the store is away


class LeftOver:
    """An attempt whose images are made, and whose process ended before they were stored."""

    def __init__(self, context: Context, claim: Claim, spooled: Spooled) -> None:
        self._context = context
        self._claim = claim
        self._spooled = spooled
        self._reason: Exception | None = None
        self._leaving = threading.Event()

    def leave(self, reason: Exception) -> None:
        """Ask it to end, from any thread; the first reason counts."""
        self._reason = self._reason or reason
        self._leaving.set()

    def see_through(self) -> None:
        """Store and end the job. Where the worker stops before, the job goes back, and the files stay for its next."""
        try:
            self._store()
        except Draining:
            self._give_back()
        except RedisUnavailable as exc:
            log.warning("spool: left for the next start", job_id=self._claim.job_id, reason=str(exc))
        except (StorageError, Fenced) as exc:
            log.warning("spool: not stored; the job will run again", job_id=self._claim.job_id, reason=str(exc))
            self._context.spool.drop(self._spooled)
        else:
            self._context.spool.drop(self._spooled)
        finally:
            self._context.leases.let_go(self._claim)

    def _store(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while self._reason is None:
            try:
                return self._finish()
            except StorageUnavailable as exc:
                log.warning("spool: S3 is away", job_id=self._claim.job_id, reason=str(exc))
            except StorageMisconfigured as exc:
                self._context.stop_refused(exc)
                raise Draining("S3 refuses") from exc
            self._leaving.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        if not isinstance(self._reason, JobLeft):
            raise self._reason
        self._context.table.finish(self._claim, self._reason.status)
        return None

    def _finish(self) -> None:
        entry = self._context.catalogue.models[self._claim.spec.model]
        images = upload(self._context.store, self._claim, entry, self._spooled.images(), self._spooled.timings)
        results = [image.model_dump(mode="json") for image in images]
        record = self._context.table.finish(
            self._claim, Status.SUCCEEDED, images=results, timings=self._spooled.timings
        )
        self._context.metrics.note_end(record)
        log.info("spool: stored what waited", job_id=self._claim.job_id, images=len(images))

    def _give_back(self) -> None:
        with suppress(RedisUnavailable, Fenced):  # Its lease will lapse.
            self._context.pass_on(self._context.table.give_back(self._claim))


def take_up_spool(context: Context) -> list[LeftOver]:
    """
    Hold the jobs whose images wait, before the first message is taken: one of them could be such a job's.

    All at once: one that waits for the store must not cost the next its lease.
    """
    return [found for spooled in context.spool.left_over() if (found := _take_up(context, spooled)) is not None]


def recover(left_over: list[LeftOver]) -> None:
    """Store what was taken up. Until an image is stored, its job stays with this worker."""
    for each in left_over:
        try:
            each.see_through()
        except Exception:  # One of them must not cost the others their end.
            log.exception("bug in the recovery of the spool")


def _take_up(context: Context, spooled: Spooled) -> LeftOver | None:
    try:
        claim = _claim(context, spooled)
    except RedisUnavailable as exc:
        log.warning("spool: left for the next start", job_id=spooled.job_id, reason=str(exc))
        return None
    if claim is None:
        log.info("spool: the job is another attempt's now", job_id=spooled.job_id)
        context.spool.drop(spooled)
        return None
    left_over = LeftOver(context, claim, spooled)
    context.leases.hold(claim, left_over.leave)
    return left_over


def _claim(context: Context, spooled: Spooled) -> Claim | None:
    """The attempt's own claim, where it still holds; or a new one, where the job waits in the queue."""
    try:
        record = context.table.get(spooled.job_id)
    except (JobNotFound, RecordUnreadable):
        return None
    if record.spec is None or record.spec.model not in context.served:
        return None
    if spooled.model not in ("", made_by(context.catalogue.models[record.spec.model])):
        return None
    own = Claim(job_id=spooled.job_id, token=spooled.token, epoch=spooled.epoch, record=record, spec=record.spec)
    if context.table.renew([own])[0] is not Verdict.FENCED:
        return own
    if record.status is not Status.QUEUED:
        return None
    claim, released = context.table.claim(spooled.job_id, owner=context.name)
    context.pass_on(released)
    return claim
