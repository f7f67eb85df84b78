"""What callers' jobs take of Redis, and how ended ones are dropped before their time: some in a call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import redis

from jobs import names
from jobs.errors import InvalidRequest
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.scripts import Scripts
from jobs.table.pieces import PIECE
from jobs.table.reader import CURSOR
from jobs.table.states import Status

ENDS = tuple(status for status in Status if status.is_terminal)

_LOOK_AT = 100  # entries of a list in one script: a millisecond or two of Redis' time
_MOST_LOOKS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """
    What one call did.

    Attributes:
        count: How many jobs it dropped.
        cursor: Where the next call goes on; None where there is nothing left to look at.
    """

    count: int
    cursor: str | None


def kept_bytes(client: redis.Redis, settings: Settings) -> dict[str, int]:
    """See `JobTable.kept`."""
    with map_errors(settings):
        found = dict(client.hscan_iter(names.KEPT_UNITS, count=PIECE))
    taken = sorted(((int(units), str(caller)) for caller, units in found.items()), reverse=True)
    return {caller: units * names.KEPT_UNIT for units, caller in taken}


def drop_some(
    scripts: Scripts,
    caller: str | None,
    statuses: Sequence[Status],
    ended_before: float | None,
    cursor: str | None,
) -> Dropped:
    """See `JobTable.drop_ended`."""
    if cursor is not None and not re.fullmatch(CURSOR, cursor):
        raise InvalidRequest("cursor", "is not one that a call to drop jobs returned")
    count, behind = 0, cursor or "-inf"
    for _ in range(_MOST_LOOKS):
        dropped, behind = scripts.run(
            "drop", caller=caller, statuses=statuses or None, ended_before=ended_before, behind=behind, most=_LOOK_AT
        )
        count += dropped
        if not behind:
            break
    return Dropped(count=count, cursor=behind or None)
