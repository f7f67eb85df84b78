"""What every error is: permanent or retryable, and its code where a job failed."""

from __future__ import annotations

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
