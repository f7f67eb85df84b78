"""
Why a job failed, in two wordings: one for its caller, one for the log.

Errors of libraries contain paths, addresses and classes of this machine. They go to the worker's log only.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobs.errors import ErrorCode
from storage.errors import ObjectRefused, StorageError
from workers.attempt.spool import SpoolFull
from workers.engine.errors import GenerationFailed

_SEE_LOG = "; see the job's id in the server's log for the reason"
_NO_ROOM = "the image store was unavailable, and the server had no disk space to keep the job's files until it returns"
_REFUSED = f"the image store refused the job's files{_SEE_LOG}"
_STORAGE = f"the job's files could not be stored{_SEE_LOG}"
_BUG = f"the worker failed{_SEE_LOG}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """
    Why a job failed.

    Attributes:
        code: For a program.
        message: For the caller.
        detail: For the log alone.
    """

    code: str
    message: str
    detail: str


def failure_of(exc: Exception) -> Failure:
    """The failure to report for any exception; one that is no error of ours is a bug of the worker."""
    detail = f"{type(exc).__name__}: {exc}"
    match exc:
        case GenerationFailed():
            return Failure(code=exc.code, message=str(exc), detail=exc.detail)
        case SpoolFull():
            return Failure(code=ErrorCode.STORAGE_UNAVAILABLE, message=_NO_ROOM, detail=detail)
        case StorageError():
            message = _REFUSED if isinstance(exc, ObjectRefused) else _STORAGE
            return Failure(code=ErrorCode.STORAGE_UNAVAILABLE, message=message, detail=detail)
    return Failure(code=ErrorCode.GENERATION_ERROR, message=_BUG, detail=detail)
