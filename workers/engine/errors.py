"""
What ends a run before its result is there, and how exceptions are judged.

    RunEnded
    ├── GenerationFailed   the job fails, with a code
    │   └── WrongPictures  the model made other pictures than the job asks
    └── EngineDied         nothing is wrong with the job; this process cannot run it to its end

A submitter may have errors of this kind of its own, for a job that it asks to leave.
"""

from __future__ import annotations

import torch

OUT_OF_MEMORY = "out_of_memory"
GENERATION_ERROR = "generation_error"
INVALID_OUTPUT = "invalid_output"

_SMALL = "the device has too little memory for this job; ask for fewer or smaller images"
_FAILED = "the model failed; the server's log has the reason under the job's id"


class RunEnded(Exception):
    """Base of what ends a run before its result is there."""


class GenerationFailed(RunEnded):
    """
    The job cannot be done.

    Attributes:
        code: Why, for a program; the text is for the caller, and names nothing of this machine.
        detail: Why, for the operator: in the words of the library that failed.
    """

    def __init__(self, code: str, reason: str, detail: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.detail = detail or reason


class WrongPictures(GenerationFailed):
    """
    The model made pictures of another size or number than the job asks.

    Attributes:
        found: Which field, what was asked, and what came; a sentence without its full stop.
    """

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(INVALID_OUTPUT, f"{found}. {advice}")
        self.found = found


class EngineDied(RunEnded):
    """The engine has stopped with the job in it. The job is another attempt's now."""


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether the same with less could work. torch's CPU allocator has no error class of its own."""
    return isinstance(exc, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(exc)


def is_fatal(exc: BaseException) -> bool:
    """Whether the device is beyond use for this process: after a CUDA error every later call fails as well."""
    return isinstance(exc, torch.AcceleratorError) and not is_out_of_memory(exc)


def as_generation_failure(exc: Exception) -> Exception:
    """What went wrong on the device, as the job's own failure; what is a `RunEnded` already stays as it is."""
    if isinstance(exc, RunEnded):
        return exc
    code, reason = (OUT_OF_MEMORY, _SMALL) if is_out_of_memory(exc) else (GENERATION_ERROR, _FAILED)
    failure = GenerationFailed(code, reason, f"{type(exc).__name__}: {exc}")
    failure.__cause__ = exc
    return failure
