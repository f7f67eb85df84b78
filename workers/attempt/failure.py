"""
Why a job failed, in two wordings: what its caller is told, and what the log keeps.

What libraries say names paths, addresses and classes of this machine. None of that leaves the worker but in its log.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobs.errors import ErrorCode
from storage.errors import ObjectRefused, StorageError
from workers.attempt.spool import SpoolFull
from workers.engine.errors import GenerationFailed

_SEE_LOG = "; the server's log has the reason under the job's id"
_NO_ROOM = "the image store was away, and the server had no room to keep what the job made until it is back"
_REFUSED = f"the image store refused what the job made{_SEE_LOG}"
_STORAGE = f"what the job made could not be stored{_SEE_LOG}"
_BUG = f"the worker failed{_SEE_LOG}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """
    Why a job failed.

    Attributes:
        code: For a machine.
        message: For whoever asked for it.
        detail: For the log alone.
    """

    code: str
    message: str
    detail: str


def failure_of(exc: Exception) -> Failure:
    """What to tell of whatever ended an attempt; what is no error of ours is a bug of the worker."""
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
