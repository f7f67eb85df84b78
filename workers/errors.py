"""
What ends an attempt at a job.

    AttemptEnded
    ├── GenerationFailed   the job fails, with a code
    │   └── WrongPictures  the model made other pictures than the job asks
    ├── JobLeft            somebody wants it to end: canceled, or its deadline passed
    ├── EngineDied         nothing is wrong with the job; this process cannot run it to its end
    └── Draining           nothing is wrong with the job; this worker stops, and gives it back
"""

from __future__ import annotations

import torch

from jobs.errors import ErrorCode
from jobs.table.states import Status


class AttemptEnded(Exception):
    """Base of what ends an attempt before its images are stored."""


class GenerationFailed(AttemptEnded):
    """The job cannot be done; `code` for a machine, the text for a person."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class WrongPictures(GenerationFailed):
    """
    The model made pictures of another size or number than the job asks.

    Attributes:
        found: Which field, what was asked, and what came; a sentence without its full stop.
    """

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(ErrorCode.INVALID_OUTPUT, f"{found}. {advice}")
        self.found = found


class JobLeft(AttemptEnded):
    """The job is to end as `status`, canceled or expired."""

    def __init__(self, status: Status) -> None:
        super().__init__(str(status))
        self.status = status


class EngineDied(AttemptEnded):
    """The engine has stopped with the job in it. The job is another attempt's now."""


class Draining(AttemptEnded):
    """The worker stops before the job is done."""


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether the same with less could work. torch's CPU allocator has no error class of its own."""
    return isinstance(exc, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(exc)


def is_fatal(exc: BaseException) -> bool:
    """Whether the device is beyond use for this process: after a CUDA error every later call fails as well."""
    return isinstance(exc, torch.AcceleratorError) and not is_out_of_memory(exc)


def as_generation_failure(exc: Exception) -> Exception:
    """What went wrong on the device, as the job's own failure; ours stay as they are."""
    if isinstance(exc, AttemptEnded):
        return exc
    failure = (
        GenerationFailed(ErrorCode.OUT_OF_MEMORY, f"the device has too little memory for this job: {exc}")
        if is_out_of_memory(exc)
        else GenerationFailed(ErrorCode.GENERATION_ERROR, f"the model failed: {exc or exc!r}")
    )
    failure.__cause__ = exc
    return failure
