"""What a whole system cannot do, or a caller not now: its settings, Redis, its limits, its workers."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.errors.base import ErrorCode, Permanent, Retryable


class InvalidConfiguration(Permanent):
    """A setting, or the model catalogue, is wrong."""


class OlderVersionRuns(Permanent):
    """A process of an older version runs that this version must not run beside; nothing was started."""

    def __init__(self, seen: str) -> None:
        super().__init__(
            f"{seen} of an older version uses this Redis: stop all workers and API processes of the older version, "
            "then start this one; jobs, results and keys are kept"
        )


class RedisUnavailable(Retryable):
    """Redis cannot be reached, or does not answer as it should."""


class RedisFull(Retryable):
    """Redis has no memory for more jobs; nothing was queued."""


class PartlySubmitted(Retryable):
    """
    Some of many jobs are queued and will run; Redis failed for the others, as `__cause__` says.

    Submit those without a job again. Some of them may be queued after all, if Redis was lost at the moment of
    writing; idempotency keys make that safe.

    Attributes:
        queued: The job of each request, in their order; None for one that is not known to be queued.
    """

    def __init__(self, queued: Sequence[str | None], reason: str) -> None:
        known = sum(job_id is not None for job_id in queued)
        super().__init__(
            f"{known} of {len(queued)} jobs are queued and will run; the others may not be queued. {reason}"
        )
        self.queued, self.reason = tuple(queued), reason


class QuotaExceeded(Retryable):
    """The caller has reached its limit of queued jobs; nothing was queued."""

    def __init__(self, caller: str, quota: int) -> None:
        super().__init__(
            f"{caller} has reached its limit of {quota} queued jobs: nothing was queued. "
            "Submit again when some have started"
        )
        self.caller, self.quota = caller, quota


class TooMuchKept(QuotaExceeded):
    """
    The caller's jobs that have not ended use all the Redis memory that it may use; nothing was queued.

    Attributes:
        max_bytes: The limit. Ended jobs are deleted when room is needed.
    """

    def __init__(self, caller: str, max_bytes: int) -> None:
        Retryable.__init__(
            self,
            f"the jobs of {caller} have reached their limit of {max_bytes / (1 << 20):.3g} MiB in Redis: "
            "nothing was queued. Submit again when some have ended, or cancel some",
        )
        self.caller, self.max_bytes = caller, max_bytes


class NotServed(Retryable):
    """
    No worker serves such jobs now, and the operator does not let them wait for one; nothing was queued.

    Attributes:
        field: Of the request: "model", or "kind" of a job that needs none.
    """

    code = ErrorCode.MODEL_NOT_AVAILABLE

    def __init__(self, field: str, name: str) -> None:
        super().__init__(f"no worker serves {field} {name!r} now: nothing was queued. Submit again later")
        self.field = field
