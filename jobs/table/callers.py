"""
What callers may do who have an API key, wherever their jobs come from: the part of a key's record that is not of HTTP.

The records stand under the callers' names: see `producer.keys`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, cast

import redis
import structlog
from cachetools import TTLCache
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs import names
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors

log = structlog.get_logger()

# The caller of a job without a key is "default", of a refused Celery message "celery": no key may have these names.
RESERVED_NAMES = ("default", "celery")

REMEMBER_S = 2.0
_MOST = 10_000  # Whoever submits may name any number of callers.


class CallerLimits(BaseModel):
    """
    How many jobs a caller may have, how much room they may take, and how many he gets.

    Attributes:
        max_queued: How many queued jobs it may have; None for what the settings say.
        max_kept_mib: How much of Redis its jobs may take, ended ones too; None for what the settings say.
        max_file_mib: How much of the store its uploaded files may take; None for what the settings say.
        weight: How much of the device its jobs get while others wait, too, where a caller of weight 1 gets 1.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # A stored record has more, and may be of a newer version.

    max_queued: Annotated[int, Field(ge=1)] | None = None
    max_kept_mib: Annotated[int, Field(ge=1)] | None = None
    max_file_mib: Annotated[int, Field(ge=1)] | None = None
    weight: Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)] = 1.0


NO_LIMITS = CallerLimits()


class CallerLookup:
    """Finds limits by callers' names, and remembers them for a moment. One serves a thread."""

    def __init__(self, client: redis.Redis, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = client
        self._settings = settings
        self._known: TTLCache[str, CallerLimits] = TTLCache(_MOST, ttl=REMEMBER_S, timer=clock)

    def find(self, callers: Iterable[str]) -> Mapping[str, CallerLimits]:
        """
        The limits of each; `NO_LIMITS` of one that never had a key.

        Raises:
            RedisUnavailable
        """
        requested = set(callers)
        found = dict.fromkeys(requested.intersection(RESERVED_NAMES), NO_LIMITS)
        found |= {caller: known for caller in requested if (known := self._known.get(caller)) is not None}
        if unknown := sorted(requested - found.keys()):
            with map_errors(self._settings):
                records = cast("list[str | None]", self._redis.hmget(names.API_KEYS, unknown))
            read = {caller: _read(caller, record) for caller, record in zip(unknown, records, strict=True)}
            self._known.update(read)
            found |= read
        return found


def _read(caller: str, record: str | None) -> CallerLimits:
    if record is None:
        return NO_LIMITS
    try:
        return CallerLimits.model_validate_json(record)
    except ValidationError:
        log.warning("the limits of an API key cannot be read", key=caller)
        return NO_LIMITS
