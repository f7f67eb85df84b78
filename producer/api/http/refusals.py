"""How HTTP answers a request that is refused: its caller is at a limit, the system is full, or no worker serves it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from jobs.errors import ImagemillError, NotServed, QuotaExceeded, RedisFull
from producer.keys.errors import (
    KeyRefused,
    KindNotAllowed,
    ModelNotAllowed,
    RateExceeded,
    TooManyBatches,
    TooManyBytes,
    TooManyConnections,
    TooManyUploads,
)

_Later = RateExceeded | TooManyConnections | TooManyBatches | TooManyUploads | TooManyBytes | QuotaExceeded | RedisFull

_QUEUE_RETRY_S = 5  # A queue that is full has room when a job begins, which takes about as long as a job.
_SEAT_RETRY_S = 1  # A request is over soon, or never by itself.
_MEMORY_RETRY_S = 10  # Redis' memory comes back more slowly: with records that expire.
_WORKER_RETRY_S = 10  # A worker loads its models for longer; one that restarts with small ones takes about as long.
_FULL = "the job table is full: nothing was queued. Submit again when some jobs have ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """
    How a request is refused.

    Attributes:
        status: Of the answer.
        code: For a machine.
        message: In place of the error's own words, which name what is inside.
        headers: That go with it.
    """

    status: int
    code: str
    message: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal_of(exc: ImagemillError) -> Refusal | None:
    """How to answer; None for an error of another kind."""
    match exc:
        case KeyRefused():
            return Refusal(status=401, code="invalid_api_key", headers={"WWW-Authenticate": 'Bearer realm="imagemill"'})
        case ModelNotAllowed() | KindNotAllowed():
            what = "model" if isinstance(exc, ModelNotAllowed) else "kind"
            return Refusal(status=403, code=f"{what}_not_allowed")
        case _ if isinstance(exc, _Later):
            return _later(exc)
        case NotServed():
            return Refusal(status=503, code=exc.code, headers={"Retry-After": str(_WORKER_RETRY_S)})
    return None


def _later(exc: _Later) -> Refusal:
    message = None
    match exc:
        case RateExceeded():
            code, seconds = "rate_limit_exceeded", exc.retry_after_s
        case TooManyConnections():
            code, seconds = "too_many_connections", _SEAT_RETRY_S
        case TooManyBytes():
            code, seconds = "too_many_bytes", _SEAT_RETRY_S
        case TooManyBatches():
            code, seconds = "too_many_batches", _QUEUE_RETRY_S
        case TooManyUploads():
            code, seconds = "too_many_uploads", _QUEUE_RETRY_S
        case QuotaExceeded():
            code, seconds = "quota_exceeded", _QUEUE_RETRY_S
        case RedisFull():
            code, seconds, message = "system_full", _MEMORY_RETRY_S, _FULL
    # RFC 9110, 10.2.3: whole seconds. Rounded up, or a client that obeys it comes too early.
    return Refusal(status=429, code=code, message=message, headers={"Retry-After": str(max(1, math.ceil(seconds)))})
