"""
What ends an attempt at a job.

    AttemptEnded
    ├── GenerationFailed   the job fails, with a code
    └── JobLeft            somebody wants it to end: canceled, or its deadline passed
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from jobs.errors import ErrorCode
from jobs.states import Status


class AttemptEnded(Exception):
    """Base of what ends an attempt before its images are stored."""


class GenerationFailed(AttemptEnded):
    """The job cannot be done; `code` for a machine, the text for a person."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class JobLeft(AttemptEnded):
    """The job is to end as `status`, canceled or expired."""

    def __init__(self, status: Status) -> None:
        super().__init__(str(status))
        self.status = status


@contextmanager
def map_device_errors() -> Iterator[None]:
    """
    Turn what torch raises into a failed job.

    Raises:
        GenerationFailed: With `out_of_memory` or `generation_error`.
    """
    try:
        yield
    except torch.OutOfMemoryError as exc:
        raise GenerationFailed(ErrorCode.OUT_OF_MEMORY, f"the device has too little memory: {exc}") from exc
    except MemoryError as exc:
        raise GenerationFailed(ErrorCode.OUT_OF_MEMORY, "the machine has too little memory") from exc
    except (RuntimeError, ValueError, ArithmeticError) as exc:
        if "can't allocate memory" in str(exc):  # torch's CPU allocator has no error class of its own.
            raise GenerationFailed(ErrorCode.OUT_OF_MEMORY, "the machine has too little memory") from exc
        raise GenerationFailed(ErrorCode.GENERATION_ERROR, f"the model failed: {exc}") from exc
