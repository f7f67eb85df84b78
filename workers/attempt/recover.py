"""
What an earlier process of this worker left in the spool: stored now, if its attempt still owns the job or nobody does.

A job that was given back when its worker stopped waits in the queue, and its files here: it is claimed anew, and its
next attempt begins where the last one was, with files that are made. One that cannot be claimed now (its queue is
paused, another worker serves its model) keeps its files.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import structlog
import tenacity

from jobs.errors import Fenced, InvalidRequest, JobNotFound, RecordUnreadable, RedisUnavailable
from jobs.table.claim import Claim, Verdict
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.view import spec_to_run
from workers.attempt.attempt import Attempt
from workers.attempt.context import Context
from workers.attempt.errors import Draining
from workers.attempt.spool import Spooled

log = structlog.get_logger()

_PAUSES = tenacity.wait_exponential(multiplier=0.5, max=5.0)  # between steps, while the store or Redis is away; seconds


class Recovery:
    """
    Owns what an earlier process left, until each is over: attempts that begin with storing.

    Made before the first message is taken, which could be such a job's, and holds all leases at once: one that waits
    for the store must not cost the next its own.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._woken = threading.Event()
        found = [self._take_up(spooled) for spooled in context.spool.left_over()]
        self._attempts = [each for each in found if each is not None]

    def run(self) -> None:
        """Step each in turn, and again, until all are over. Until then its job stays with this worker."""
        patiently = tenacity.Retrying(retry=tenacity.retry_if_result(bool), wait=_PAUSES, sleep=self._pause)
        patiently(self._step_each)

    def _step_each(self) -> Sequence[Attempt]:
        """Those that are not over."""
        self._woken.clear()
        self._attempts = [each for each in self._attempts if not self._is_over(each)]
        return self._attempts

    def _pause(self, seconds: float) -> None:
        self._woken.wait(seconds)

    def _is_over(self, attempt: Attempt) -> bool:
        job_id = attempt.claim.job_id
        try:
            record = attempt.step()
        except (Fenced, Draining) as exc:
            log.info("spool: not stored here", job_id=job_id, reason=str(exc))
        except Exception:  # One of them must not cost the others their end.
            log.exception("bug in the recovery of the spool")
        else:
            if record is None:
                log.warning("spool: the store or Redis cannot be reached; it waits", job_id=job_id)
                return False
            self._context.metrics.note_end(record, getattr(attempt.claim.spec, "model", ""))
            is_stored = record.status is Status.SUCCEEDED  # A kind may have no files of its own.
            said = "spool: stored what waited" if is_stored else "spool: what waited is not wanted any more"
            log.info(said, job_id=job_id, status=str(record.status), files=len(record.artifacts))
        attempt.let_go()
        return True

    def _take_up(self, spooled: Spooled) -> Attempt | None:
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
            attempt = Attempt(claim, context, kept=spooled, on_leave=self._woken.set)
            attempt.hold()
            return attempt
        if is_over or not self._is_made_as_now(record, spooled):
            log.info("spool: the job is another attempt's now, or has ended", job_id=job_id)
            context.spool.drop(spooled)
        else:
            log.info("spool: the job cannot be claimed now; its files stay", job_id=job_id)
            context.spool.leave(spooled)
        return None

    def _claim(self, record: JobRecord, spooled: Spooled) -> Claim | None:
        """The attempt's own claim, where it still holds; or a new one, where the job waits in the queue."""
        try:
            spec = spec_to_run(record)
        except InvalidRequest:
            return None
        own = Claim(job_id=record.id, token=spooled.token, epoch=spooled.epoch, record=record, spec=spec)
        if not (self._context.serves(own) and self._is_made_as_now(record, spooled)):
            return None
        if self._context.table.renew([own])[0] is not Verdict.FENCED:
            return own
        if record.status is not Status.QUEUED:
            return None
        claim, released = self._context.table.claim(record.id, owner=self._context.name, read=spec_to_run)
        self._context.pass_on(released)
        return claim

    def _is_made_as_now(self, record: JobRecord, spooled: Spooled) -> bool:
        """Whether the model is what it was when the files were made, as far as is known here."""
        try:
            spec = spec_to_run(record)
        except InvalidRequest:
            return True
        return self._context.entry_of(spec) is None or spooled.model in ("", self._context.made_by(spec))


def drop_ended(context: Context) -> None:
    """
    Delete the files that were left of jobs which have ended meanwhile, or are not there any more.

    Raises:
        RedisUnavailable
    """
    left = context.spool.left()
    if not left:
        return
    for spooled, status in zip(left, context.table.statuses([each.job_id for each in left]), strict=True):
        if status is None or (isinstance(status, Status) and status.is_terminal):
            context.spool.drop_left(spooled)
