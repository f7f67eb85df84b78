"""
Processes of a version that this one must not run beside.

What they write of a job is not what this version writes, so they are all stopped once, before this one starts. They are
known by what they say while they live: who holds the reconciler's lock says so every half second, and a worker that
takes jobs reports itself several times in each lease.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import cast

import redis
import structlog

from jobs import names
from jobs.errors import OlderVersionRuns
from jobs.fleet.fleet import Fleet
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors

log = structlog.get_logger()

OLDEST_BESIDE = 2  # The first schema version whose processes may run beside this one.
_LOOK_EVERY_S = 0.2
_HOLDER_OF_OLDEST = re.compile("[0-9a-f]{16}")  # The holder's name of the lock in version 0.1.0, and before.
_TAKES_JOBS = ("ready", "busy", "draining")  # Of one that was killed while it started, the report stays for long.


def wait_for_older_to_go(
    client: redis.Redis, settings: Settings, *, clock: Callable[[], float] = time.monotonic
) -> None:
    """
    Return as soon as no process of an older version is seen; one that has just stopped is seen for two leases.

    Raises:
        OlderVersionRuns: One is seen for longer than that, and so it lives.
        RedisUnavailable
    """
    started, is_logged = clock(), False
    while (seen := _older(client, settings)) is not None:
        if clock() - started > 2.5 * settings.lease_s:
            raise OlderVersionRuns(seen)
        if not is_logged:
            log.info("waiting for a process of an older version to go", seen=seen)
            is_logged = True
        time.sleep(_LOOK_EVERY_S)


def _older(client: redis.Redis, settings: Settings) -> str | None:
    """Which one there is; None where there is none."""
    with map_errors(settings):
        holder = cast("str | None", client.get(names.RECONCILER))
    for worker in Fleet(client, settings).workers():
        if worker.known_schema < OLDEST_BESIDE and worker.state in _TAKES_JOBS:
            return worker.name
    if holder is not None and _HOLDER_OF_OLDEST.fullmatch(holder):
        return "a worker or an API process"
    return None


def holder_name(token: str) -> str:
    """By what name a process of this version holds the reconciler's lock."""
    return f"{names.RECONCILER_VERSION}-{token}"
