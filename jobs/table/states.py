"""The states of a job."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """`queued → processing → succeeded | failed | canceled | expired`."""

    QUEUED = "queued"  # accepted; waits for its turn or for a worker
    PROCESSING = "processing"  # a worker has claimed it
    SUCCEEDED = "succeeded"  # what it made is in storage
    FAILED = "failed"  # ended without result; `error` says why
    CANCELED = "canceled"  # ended because somebody asked for it
    EXPIRED = "expired"  # ended because a deadline of its own passed

    @property
    def is_terminal(self) -> bool:
        return self not in (Status.QUEUED, Status.PROCESSING)


def has_ended(status: str, ended_at: object) -> bool:
    """Whether a job has ended. For a status that only a newer version knows, the time of its end shows it."""
    return status in _ENDS if status in _KNOWN else bool(ended_at)


_KNOWN = frozenset(Status)
_ENDS = frozenset(status for status in Status if status.is_terminal)
