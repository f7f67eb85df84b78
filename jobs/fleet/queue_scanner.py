"""
Scans for lists that are named like those of our queues, including models that do not exist.

Nothing else finds them: their messages become no jobs, and are in no set of the table. It reads every
key of Redis, so one process does it for all, a piece at a time, and stores the names for the metrics and `workers`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import redis
import structlog

from jobs import names
from jobs.errors import ImagemillError
from jobs.fleet.backlog import scan_lists
from jobs.fleet.lists import queue_in_list
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors

log = structlog.get_logger()

EVERY_S = 60.0
_PIECES = 2  # of 1,000 keys, at a time: a millisecond of Redis' time, however many keys there are
_MOST_LISTS = 500  # Any client of Redis can create any number.
_NOTED_FOR_S = 24 * 3600  # longer than any round takes; how much stands in them is asked anew each time


class QueueScanner:
    """Of one process: only the one that reconciles now scans."""

    def __init__(
        self,
        client: redis.Redis,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        pieces: int = _PIECES,
    ) -> None:
        self._redis = client
        self._settings = settings
        self._clock = clock
        self._pieces = pieces
        self._next_round = clock()
        self._cursor: int | None = None  # None between two rounds
        self._found: set[str] = set()

    def scan(self) -> None:
        """Go on for a piece, or begin again when a minute has passed. What fails is not needed, and tried later."""
        if self._cursor is None and self._clock() < self._next_round:
            return
        try:
            with map_errors(self._settings):
                self._go_on()
        except ImagemillError as exc:
            log.warning("unread lists are not scanned for", reason=str(exc))
            self._end_round()

    def _go_on(self) -> None:
        for _ in range(self._pieces):
            self._cursor, keys = scan_lists(self._redis, self._cursor or 0)
            alike = [key for key in keys if names.is_queue(queue_in_list(key)[0])]
            self._found.update(alike[: _MOST_LISTS - len(self._found)])
            if not self._cursor:
                self._redis.set(names.LISTS, json.dumps(sorted(self._found)), ex=_NOTED_FOR_S)
                self._end_round()
                return

    def _end_round(self) -> None:
        self._cursor, self._found, self._next_round = None, set(), self._clock() + EVERY_S
