"""
What can go wrong with a job, and whether trying again helps.

    ImagemillError
    ├── Permanent                 trying again gives the same answer
    │   ├── InvalidRequest        a field of the request is wrong
    │   │   ├── ModelNotAvailable no model of that name
    │   │   ├── NoEffect          the model would not heed the field
    │   │   └── ReadersLost       every worker that read the message died
    │   ├── IdempotencyConflict   same idempotency key, other parameters
    │   ├── JobNotFound           no job of that id (any more)
    │   ├── JobNotQueued          the job has begun or ended
    │   ├── JobNotEnded           the job goes on, so that its result cannot be deleted
    │   ├── ResultDeleted         what the job made, and was asked for, was deleted
    │   ├── RecordUnreadable      this version cannot read the job's record
    │   ├── BatchNotFound         no batch of that id (any more)
    │   ├── FileTooLarge          an uploaded file has too many bytes
    │   ├── FileNotFound          no file of that id (any more)
    │   ├── FileInUse             a job that goes on needs the file
    │   ├── FilesTooLarge         the caller's files have reached their limit of bytes
    │   ├── BatchCanceled         the batch takes no more jobs
    │   ├── InvalidConfiguration  a setting or the model catalogue is wrong
    │   ├── OlderVersionRuns      a process runs that this version must not run beside
    │   └── JobFailed             the job itself ended without images
    └── Retryable                 the same call may succeed later
        ├── RedisUnavailable      Redis cannot be reached
        ├── RedisFull             Redis has no memory for more jobs
        ├── PartlySubmitted       some of many jobs are queued, and Redis failed at the others
        ├── QuotaExceeded         the caller has reached its limit of queued jobs
        │   └── TooMuchKept       the caller's jobs have reached their limit of Redis memory
        ├── NotServed             no worker serves such jobs now, and the operator does not let them wait
        ├── WaitTimeout           the job did not end in the time given
        └── Fenced                another attempt owns the job now
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class ErrorCode(StrEnum):
    """Why a job failed, for a machine. Each comes with a sentence for a person."""

    INVALID_REQUEST = "invalid_request"
    INVALID_INPUT = "invalid_input"
    MODEL_NOT_AVAILABLE = "model_not_available"
    OUT_OF_MEMORY = "out_of_memory"
    GENERATION_ERROR = "generation_error"
    INVALID_OUTPUT = "invalid_output"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    WORKER_LOST = "worker_lost"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    QUOTA_EXCEEDED = "quota_exceeded"


class ImagemillError(Exception):
    """Base of all errors that Imagemill raises on purpose; its text is a sentence for a person."""


class Permanent(ImagemillError):
    """Trying again gives the same answer."""


class Retryable(ImagemillError):
    """The same call may succeed later."""


class InvalidRequest(Permanent):
    """
    A field of a request is wrong; nothing was queued.

    Attributes:
        field: Dotted path of the field, e.g. "output.quality"; "request" where it is no single field.
        code: The code that a job with this request fails with.
    """

    code = ErrorCode.INVALID_REQUEST

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


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


class JobNotFound(Permanent):
    """There is no job of that id, or its record has expired."""

    def __init__(self, job_id: str, *, is_remembered: bool = False) -> None:
        """`is_remembered`: a later message with this id will be canceled."""
        message = f"there is no job {job_id}, or its record has expired"
        ahead = "; a Celery message with this id that comes within a day will not run"
        super().__init__(message + (ahead if is_remembered else ""))
        self.job_id = job_id


class JobNotQueued(Permanent):
    """The job has started or ended, so its position cannot change."""

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"job {job_id} is {status}: only a queued job can change its position")
        self.job_id, self.status = job_id, status


class JobNotEnded(Permanent):
    """The job goes on, so its result cannot be deleted."""

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"job {job_id} is {status}: cancel it first; its result can be deleted when it has ended")


class ResultDeleted(Permanent):
    """Somebody has deleted what the job made and what it was asked for. Its status and its times are still known."""

    code = "gone"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"the result of job {job_id} was deleted")
        self.job_id = job_id


class RecordUnreadable(Permanent):
    """
    A job's record is damaged, or written by a version with another format.

    Attributes:
        caller: Whose job it is, if the record says so.
    """

    def __init__(self, job_id: str, field: str, caller: str | None) -> None:
        super().__init__(
            f"this version cannot read the record of job {job_id}: {field} is damaged or was written by a newer version"
        )
        self.job_id, self.caller = job_id, caller


class FileTooLarge(Permanent):
    """
    An uploaded file has too many bytes; nothing of it was kept.

    Attributes:
        field: Of the request: what the file was sent as.
    """

    def __init__(self, field: str, max_bytes: int) -> None:
        super().__init__(f"{field}: a file may have at most {max_bytes} bytes")
        self.field = field


class FileNotFound(Permanent):
    """There is no file of that id, or it was deleted. Whether it is another caller's, nobody is told."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"there is no file {file_id}, or it was deleted")
        self.file_id = file_id


class FileInUse(Permanent):
    """A job that has not ended needs the file, so it was not deleted."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"file {file_id} is needed by a job that has not ended: delete it when the job has ended")
        self.file_id = file_id


class FilesTooLarge(Permanent):
    """The caller's files have reached their limit of bytes; nothing was kept."""

    def __init__(self, caller: str, max_bytes: int) -> None:
        super().__init__(
            f"the files of {caller} have reached their limit of {max_bytes / (1 << 20):.4g} MiB: nothing was kept. "
            "Delete some of them, and send it again"
        )
        self.caller, self.max_bytes = caller, max_bytes


class BatchNotFound(Permanent):
    """There is no batch of that id, or its record has expired."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"there is no batch {batch_id}, or its record has expired")
        self.batch_id = batch_id


class BatchCanceled(Permanent):
    """The batch was canceled before this job came; it was not queued."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"batch {batch_id} was canceled: nothing was queued")
        self.batch_id = batch_id


class InvalidConfiguration(Permanent):
    """A setting, or the model catalogue, is wrong."""


class OlderVersionRuns(Permanent):
    """A process of an older version runs that this version must not run beside; nothing was started."""

    def __init__(self, seen: str) -> None:
        super().__init__(
            f"{seen} of an older version uses this Redis: stop all workers and API processes of the older version, "
            "then start this one; jobs, results and keys are kept"
        )


class JobFailed(Permanent):
    """
    A job ended without images.

    Attributes:
        job_id: The job.
        code: Why, for a machine: an `ErrorCode`, or "canceled".
        reason: Why, for a person.
    """

    def __init__(self, job_id: str, code: str, reason: str) -> None:
        super().__init__(job_id, code, reason)  # All three, so that a result backend can rebuild it.
        self.job_id, self.code, self.reason = job_id, code, reason

    def __str__(self) -> str:
        return f"job {self.job_id} ended with {self.code}: {self.reason}"


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


class WaitTimeout(Retryable):
    """The job did not end in the time given; it continues."""

    def __init__(self, job_id: str, timeout_s: float) -> None:
        super().__init__(f"job {job_id} did not end within {timeout_s:g} s; it continues")
        self.job_id = job_id


class Fenced(Retryable):
    """Another attempt owns the job now, so this one's writes are refused."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"another attempt of job {job_id} is running now")
        self.job_id = job_id
