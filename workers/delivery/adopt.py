"""
Makes a job of a plain Celery message: its keyword arguments are the request, its task id is the job's.

The message is acknowledged when the job is written, or what is wrong with it. Where Redis has no room it goes back, and
occupies nobody; where Redis is away it stays in hand until Redis is back, or the worker ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog

from jobs import names
from jobs.errors import ErrorCode, IdempotencyConflict, InvalidRequest, JobFailed, RedisFull, RedisUnavailable
from jobs.kinds.registry import DEFAULT, KINDS, parse_request, settle
from jobs.submit import submission_of
from jobs.table.submission import Submission, Submitted
from workers.attempt.context import Context
from workers.delivery.deliveries import Deliveries, Delivery

log = structlog.get_logger()

_POSTPONE_FOR_S = 1.0  # where Redis is full; it is not put back before there is room
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0  # between tries, while Redis is away


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A message as it came; `queue` is the one that it came through, `tells` who is to hear of its end."""

    job_id: str
    queue: str
    args: tuple[Any, ...]
    fields: dict[str, Any]
    tells: dict[str, Any]


class Adopter:
    """
    Makes jobs of messages, and settles these.

    Args:
        deliveries: Where they are settled.
    """

    def __init__(self, context: Context, deliveries: Deliveries) -> None:
        self._context = context
        self._deliveries = deliveries

    def adopt(self, sent: Request, delivery: Delivery) -> None:
        """
        Write the job of a message, and be done with the message; or leave that to another time, where Redis is full.

        Raises:
            JobFailed: There is no writing down of what is wrong with the request, for its id is none of a job.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return self._try_to_adopt(sent, delivery)
            except RedisUnavailable as exc:
                if pause_s == _FIRST_PAUSE_S:
                    log.warning("job not written yet: trying until Redis is back", reason=str(exc))
            if self._has_to_leave(delivery, pause_s):
                return None
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _try_to_adopt(self, sent: Request, delivery: Delivery) -> None:
        try:
            self._write(sent)
        except JobFailed:
            self._deliveries.acknowledge(delivery)
            raise
        except RedisFull as exc:
            log.warning("job not written: its message waits in Redis", reason=str(exc))
            self._deliveries.postpone(delivery, _POSTPONE_FOR_S)
        else:
            self._deliveries.acknowledge(delivery)

    def _has_to_leave(self, delivery: Delivery, pause_s: float) -> bool:
        """Wait a moment. A message with a copy holds no worker up that stops; one without, as long as there is one."""
        if not (self._context.draining if delivery.is_copied else self._context.out_of_time).wait(pause_s):
            return False
        if not delivery.is_copied:
            log.error("worker stops with a message that it could not put back: Redis is away")
        delivery.is_left = True
        return True

    def _write(self, sent: Request) -> None:
        """Write the job. What is wrong with the request becomes a failed job, for its sender to find."""
        if not names.is_job_id(sent.job_id):
            raise JobFailed(sent.job_id, ErrorCode.INVALID_REQUEST, "id: use letters, digits, '.', '_' and '-'")
        try:
            submitted = self._submit(self._read(sent))
        except InvalidRequest as exc:
            self._context.table.reject(
                sent.job_id,
                request={"args": sent.args, **sent.fields},
                queue=sent.queue,
                error=exc,
                tells=sent.tells,
            )
            log.warning("job refused", job_id=sent.job_id, code=str(exc.code))  # Why may repeat what it was.
            self._context.announcer.note_end()
        else:
            self._context.pass_on(submitted.released)

    def _read(self, sent: Request) -> Submission:
        if sent.args:
            raise InvalidRequest("args", "the request goes into keyword arguments: kwargs={'prompt': …}")
        request = parse_request({**_said_by(sent.queue, sent.fields), **sent.fields})
        spec = settle(request, self._context.catalogue)
        return submission_of(request, spec, job_id=sent.job_id, origin="celery", tells=sent.tells)

    def _submit(self, submission: Submission) -> Submitted:
        try:
            submitted = self._context.table.submit(submission)
        except IdempotencyConflict as exc:
            raise InvalidRequest("idempotency_key", str(exc)) from exc
        if submitted.job_id != submission.job_id:
            raise InvalidRequest("idempotency_key", f"was used for job {submitted.job_id}; ask for that one")
        return submitted


def _said_by(queue: str, fields: dict[str, Any]) -> dict[str, str]:
    """What a request need not say, for its queue does: the model; of a kind that has one, and where it is one's."""
    kind, model = KINDS.get(str(fields.get("kind", DEFAULT))), names.model_of(queue)
    return {"model": model} if kind is not None and kind.needs_model and model is not None else {}
