"""Fetches a job's inputs from the store, before it takes an engine slot: waiting for the store blocks no other job."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog
import tenacity

from jobs.errors import ErrorCode
from jobs.inputs.heads import MAX_BYTES
from storage.errors import ObjectNotFound, ObjectTooLarge, StorageError, StorageUnavailable
from storage.store import Store
from workers.engine.errors import GenerationFailed

log = structlog.get_logger()

_PAUSES = tenacity.wait_exponential(multiplier=0.5, max=5.0)  # between tries, while the store is away; seconds


def fetch(store: Store, inputs: Mapping[str, str], pause: Callable[[float], None]) -> dict[str, bytes]:
    """
    The objects, by the fields that name them.

    Args:
        inputs: Their keys, by field.
        pause: Waits so many seconds, while the store is away; raises why the job is not to wait any more.

    Raises:
        GenerationFailed: There is no such object, or it cannot be had; names the field.
    """
    return {field: _fetch(store, field, key, pause) for field, key in inputs.items()}


def _fetch(store: Store, field: str, key: str, pause: Callable[[float], None]) -> bytes:
    patiently = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(StorageUnavailable), wait=_PAUSES, sleep=pause, before_sleep=_log_wait
    )
    try:
        return patiently(store.get, key, max_bytes=MAX_BYTES)
    except StorageError as exc:  # Refused, too: the key is the job's, and one job must not stop a fleet.
        raise GenerationFailed(ErrorCode.INVALID_REQUEST, f"{field}: {_explain(exc, key)}") from exc


def _log_wait(state: tenacity.RetryCallState) -> None:
    reason = state.outcome.exception() if state.outcome else None
    log.warning("the store cannot be reached; the job waits for its input", reason=str(reason))


def _explain(exc: StorageError, key: str) -> str:
    if isinstance(exc, ObjectNotFound):
        return f"there is no object {key!r} in the store"
    if isinstance(exc, ObjectTooLarge):
        return str(exc)
    log.warning("the store refuses an input", reason=str(exc))
    return f"the store does not give out {key!r}"
