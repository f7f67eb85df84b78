"""Fetches a job's inputs from the store, before it takes an engine slot: waiting for the store blocks no other job."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

import structlog
import tenacity

from jobs.errors import ErrorCode, JobNotFound, RecordUnreadable, RedisUnavailable
from jobs.inputs.heads import MAX_BYTES
from jobs.kinds.inputs import Input
from jobs.table.table import JobTable
from storage.errors import ObjectNotFound, ObjectTooLarge, StorageError, StorageUnavailable
from storage.keys import input_key
from storage.store import Store
from workers.engine.errors import GenerationFailed

log = structlog.get_logger()

_PAUSES = tenacity.wait_exponential(multiplier=0.5, max=5.0)  # between tries, while the store is away; seconds

T = TypeVar("T")


class Fetcher:
    """
    Fetches the inputs of one job.

    Args:
        pause: Waits so many seconds, while the store or Redis is away; raises why the job is not to wait any more.
    """

    def __init__(self, store: Store, table: JobTable, pause: Callable[[float], None]) -> None:
        self._store = store
        self._table = table
        self._patiently = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((StorageUnavailable, RedisUnavailable)),
            wait=_PAUSES,
            sleep=pause,
            before_sleep=_log_wait,
        )

    def fetch(self, field: str, named: Input) -> bytes:
        """
        An object whole, as it was when the job was submitted: the bytes that its record names.

        Raises:
            GenerationFailed: `invalid_input`: there is no such object, it cannot be had, or it is another one by now;
                names the field.
        """
        key = self._patiently(self._key, field, named)
        try:
            data = self._patiently(self._store.get, key, max_bytes=MAX_BYTES)
        except StorageError as exc:  # Refused, too: the key is the job's, and one job must not stop a fleet.
            raise not_usable(field, _explain(exc, named)) from exc
        if named.sha256 not in (None, hashlib.sha256(data).hexdigest()):
            raise not_usable(field, f"{_name_of(named)} has changed since the job was submitted")
        return data

    def _key(self, field: str, named: Input) -> str:
        if named.file is not None:
            return input_key(self._store.settings.prefix, named.file)
        if named.object is not None:
            return named.object
        assert named.job is not None, "an input is one of the three"  # noqa: S101 - as its kind settled it
        try:
            artifacts = self._table.get(named.job).artifacts
        except (JobNotFound, RecordUnreadable) as exc:
            raise not_usable(field, f"job {named.job} is not there any more") from exc
        index = named.index or 0
        if index >= len(artifacts):
            raise not_usable(field, f"job {named.job} has no result {index}")
        return artifacts[index].key


def not_usable(field: str, reason: str) -> GenerationFailed:
    """The failure of a job whose input cannot be used."""
    return GenerationFailed(ErrorCode.INVALID_INPUT, f"{field}: {reason}")


def _log_wait(state: tenacity.RetryCallState) -> None:
    reason = state.outcome.exception() if state.outcome else None
    log.warning("the store or Redis cannot be reached; the job waits for its input", reason=str(reason))


def _name_of(named: Input) -> str:
    return f"file {named.file}" if named.file else f"object {named.object!r}" if named.object else f"job {named.job}"


def _explain(exc: StorageError, named: Input) -> str:
    """For the caller, who knows what he named, and not where it lies."""
    what = _name_of(named)
    if isinstance(exc, ObjectNotFound):
        return f"the picture of {what} is not in the store any more"
    if isinstance(exc, ObjectTooLarge):
        return f"{what} has more than {MAX_BYTES} bytes"
    log.warning("the store refuses an input", reason=str(exc))
    return f"the store does not give out {what}"
