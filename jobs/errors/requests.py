"""What is wrong with a request."""

from __future__ import annotations

from jobs.errors.base import ErrorCode, Permanent


class InvalidRequest(Permanent):
    """
    A field of a request is wrong; nothing was queued.

    Attributes:
        field: Dotted path of the field, e.g. "output.quality"; "request" where it is no single field.
        reason: What is wrong with it.
        code: The code that a job with this request fails with.
    """

    code = ErrorCode.INVALID_REQUEST

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class ModelNotAvailable(InvalidRequest):
    """The catalogue has no model of that name."""

    code = ErrorCode.MODEL_NOT_AVAILABLE


class NoEffect(InvalidRequest):
    """A field is well-formed, and the model would not heed it: without it the same pictures would be made."""


class ReadersLost(InvalidRequest):
    """Every worker that read the message died; it will not be read again."""

    code = ErrorCode.WORKER_LOST

    def __init__(self, times: int) -> None:
        super().__init__("message", f"{times} workers died while they read it; it will not be read again")


class MessageOverQuota(InvalidRequest):
    """A valid message came while its caller was at its limit of queued jobs; it may be sent again later."""

    code = ErrorCode.QUOTA_EXCEEDED

    def __init__(self, reason: str) -> None:
        super().__init__("request", reason)


class IdempotencyConflict(Permanent):
    """
    The idempotency key was used before, with other parameters.

    Attributes:
        job_id: The job that has it.
        queued: Where many were submitted at once: the job of each request, in their order; None for one without.
    """

    def __init__(self, key: str, job_id: str) -> None:
        super().__init__(
            f"idempotency_key: {key!r} was already used for job {job_id} with other parameters; "
            "use a new key or the same parameters"
        )
        self.job_id = job_id
        self.queued: tuple[str | None, ...] = ()
