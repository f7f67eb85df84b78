"""What a job or a batch is not, or is no longer."""

from __future__ import annotations

from jobs.errors.base import Permanent, Retryable


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
