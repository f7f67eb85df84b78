"""Fetches what a job was given in the store, before it takes a seat: one that waits for the store holds up no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from jobs.errors import ErrorCode
from storage.errors import ObjectNotFound, ObjectTooLarge, StorageError, StorageUnavailable
from storage.store import Store
from workers.engine.errors import GenerationFailed

log = structlog.get_logger()

MAX_INPUT_BYTES = 64 << 20  # of one object: every job in hand may hold some
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0  # between tries, while the store is away


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
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return store.get(key, max_bytes=MAX_INPUT_BYTES)
        except StorageUnavailable as exc:
            log.warning("the store is away; the job waits for its input", reason=str(exc))
        except StorageError as exc:  # Refused, too: the key is the job's, and one job must not stop a fleet.
            raise GenerationFailed(ErrorCode.INVALID_REQUEST, f"{field}: {_explain(exc, key)}") from exc
        pause(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _explain(exc: StorageError, key: str) -> str:
    if isinstance(exc, ObjectNotFound):
        return f"there is no object {key!r} in the store"
    if isinstance(exc, ObjectTooLarge):
        return str(exc)
    log.warning("the store refuses an input", reason=str(exc))
    return f"the store does not give out {key!r}"
