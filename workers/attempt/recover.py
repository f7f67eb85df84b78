"""
What an earlier process of this worker left in the spool: stored now, if its attempt still owns the job or nobody does.

A job that was given back when its worker stopped waits in the queue, and its picture here: it is claimed anew, and its
next attempt begins where the last one was, with files that are made. One that cannot be claimed now (its queue is
paused, another worker serves its model) keeps its files.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import structlog

from jobs.errors import ErrorCode, Fenced, InvalidRequest, JobNotFound, RecordUnreadable, RedisUnavailable
from jobs.table.claim import Claim, Verdict
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.view import spec_to_run
from storage.errors import ObjectRefused, StorageError, StorageMisconfigured, StorageUnavailable
from workers.attempt.context import Context
from workers.attempt.errors import Draining, JobLeft
from workers.attempt.spool import Spooled
from workers.attempt.upload import made_by, upload

log = structlog.get_logger()

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0  # between tries to store, while the store or Redis is away


class LeftOver:
    """An attempt whose images are made, and whose process ended before they were stored."""

    def __init__(self, context: Context, claim: Claim, spooled: Spooled, woken: threading.Event) -> None:
        self._context = context
        self._claim = claim
        self._spooled = spooled
        self._woken = woken
        self._reason: Exception | None = None

    def leave(self, reason: Exception) -> None:
        """Ask it to end, from any thread; the first reason counts."""
        self._reason = self._reason or reason
        self._woken.set()

    def try_once(self) -> bool:
        """
        Store and end the job. Where the worker stops before, the job goes back, and the files stay for its next start.

        Returns:
            Whether it is over; else the store or Redis is away.
        """
        job_id = self._claim.job_id
        try:
            self._store_or_leave()
        except Draining:
            self._give_back()
        except StorageUnavailable as exc:
            log.warning("spool: S3 is away", job_id=job_id, reason=str(exc))
            return False
        except RedisUnavailable as exc:
            log.warning("spool: the end of the job is not written yet", job_id=job_id, reason=str(exc))
            return False
        except (Fenced, JobLeft) as exc:
            log.info("spool: not wanted any more", job_id=job_id, reason=str(exc))
            self._context.spool.drop(self._spooled)
        except (StorageError, OSError) as exc:
            log.warning("spool: not stored; the job will run again", job_id=job_id, reason=str(exc))
            self._give_back()
        else:
            self._context.spool.drop(self._spooled)
        self._context.leases.let_go(self._claim)
        return True

    def _store_or_leave(self) -> None:
        if isinstance(self._reason, JobLeft):
            self._context.table.finish(self._claim, self._reason.status)
        if self._reason is not None:
            raise self._reason
        try:
            self._finish()
        except StorageMisconfigured as exc:
            self._context.stop_refused(exc)
            raise Draining("S3 refuses") from exc
        except ObjectRefused as exc:
            error = {"code": ErrorCode.STORAGE_UNAVAILABLE, "message": str(exc)}
            self._note_end(self._context.table.finish(self._claim, Status.FAILED, error=error))

    def _finish(self) -> None:
        entry = self._context.entry_of(self._claim.spec)
        timings, data = self._spooled.timings, self._spooled.data
        images = upload(self._context.store, self._claim, entry, self._spooled.made(), timings, data)
        made = [image.model_dump(mode="json", exclude_defaults=True) for image in images]
        finish = self._context.table.finish
        self._note_end(finish(self._claim, Status.SUCCEEDED, artifacts=made, timings=timings, data=data))
        log.info("spool: stored what waited", job_id=self._claim.job_id, images=len(images))

    def _note_end(self, record: JobRecord) -> None:
        self._context.metrics.note_end(record, getattr(self._claim.spec, "model", ""))

    def _give_back(self) -> None:
        with suppress(RedisUnavailable, Fenced):  # Its lease will lapse.
            self._context.pass_on(self._context.table.give_back(self._claim))


class Recovery:
    """
    Owns what an earlier process left, until each is over.

    Made before the first message is taken, which could be such a job's, and holds all leases at once: one that waits
    for the store must not cost the next its own.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._woken = threading.Event()
        found = [self._take_up(spooled) for spooled in context.spool.left_over()]
        self._left_over = [each for each in found if each is not None]

    def run(self) -> None:
        """Try each in turn, and again, until all are over. Until then its job stays with this worker."""
        pause_s = _FIRST_PAUSE_S
        while self._left_over:
            self._woken.clear()
            self._left_over = [each for each in self._left_over if not _try(each)]
            if self._left_over:
                self._woken.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _take_up(self, spooled: Spooled) -> LeftOver | None:
        context, job_id = self._context, spooled.job_id
        try:
            record = context.table.get(job_id)
            claim = self._claim(record, spooled)
            is_over = claim is None and context.table.get(job_id).status is not Status.QUEUED
        except (RedisUnavailable, RecordUnreadable) as exc:
            log.warning("spool: left for the next start", job_id=job_id, reason=str(exc))
            return None
        except JobNotFound:
            claim, is_over = None, True
        if claim is not None:
            left_over = LeftOver(context, claim, spooled, self._woken)
            context.leases.hold(claim, left_over.leave)
            return left_over
        if is_over or not self._is_made_as_now(record, spooled):
            log.info("spool: the job is another attempt's now, or has ended", job_id=job_id)
            context.spool.drop(spooled)
        else:
            log.info("spool: the job cannot be had now; its images stay", job_id=job_id)
            context.spool.leave(spooled)
        return None

    def _claim(self, record: JobRecord, spooled: Spooled) -> Claim | None:
        """The attempt's own claim, where it still holds; or a new one, where the job waits in the queue."""
        context, spec = self._context, _spec_of(record)
        if spec is None:
            return None
        own = Claim(job_id=record.id, token=spooled.token, epoch=spooled.epoch, record=record, spec=spec)
        if not (context.serves(own) and self._is_made_as_now(record, spooled)):
            return None
        if context.table.renew([own])[0] is not Verdict.FENCED:
            return own
        if record.status is not Status.QUEUED:
            return None
        claim, released = context.table.claim(record.id, owner=context.name, read=spec_to_run)
        context.pass_on(released)
        return claim

    def _is_made_as_now(self, record: JobRecord, spooled: Spooled) -> bool:
        """Whether the model is what it was when the images were made, as far as is known here."""
        spec = _spec_of(record)
        entry = self._context.entry_of(spec)
        return entry is None or spooled.model in ("", made_by(entry))


def _spec_of(record: JobRecord) -> Any:
    """What a record asks for; None where this version does not understand it."""
    try:
        return spec_to_run(record)
    except InvalidRequest:
        return None


def _try(left_over: LeftOver) -> bool:
    try:
        return left_over.try_once()
    except Exception:  # One of them must not cost the others their end.
        log.exception("bug in the recovery of the spool")
        return True
