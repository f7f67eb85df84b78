"""
Drops messages that mean nothing any more.

Where a released job is canceled or expires, the next one is released and has a message of its own. The first one's
stays until a worker takes it; where none does, such messages would gather without an end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import cast

import redis

from jobs import names
from jobs.fleet.lists import list_of
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.ranks import FIRST, LINE
from jobs.scripts.scripts import Scripts

_MOST_STALE = 100  # in a list: so many are left to the workers, who take them soon or never
_MOST_AT_A_TIME = 200
_REST_S = 20.0  # for a list whose end has none, because others have put something else there


class StaleMessages:
    """Those of the table's own lists; safe to look for in many processes at once."""

    def __init__(self, client: redis.Redis, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = client
        self._settings = settings
        self._scripts = Scripts(client, settings)
        self._clock = clock
        self._rests: dict[str, float] = {}  # by list, until when

    def drop(self) -> int:
        """
        Drop some, where many stand; in all lists together a bounded number.

        Returns:
            How many were dropped; 0 means that nothing is to be gained by doing it again at once.

        Raises:
            RedisUnavailable
        """
        self._rests = {key: until for key, until in self._rests.items() if until > self._clock()}
        too_long = {key: queue for key, queue in self._too_long().items() if key not in self._rests}
        return sum(self._drop_from(key, queue, _MOST_AT_A_TIME // len(too_long)) for key, queue in too_long.items())

    def _too_long(self) -> Mapping[str, str]:
        """Lists with many more messages than there are released jobs, and the queue of each."""
        with map_errors(self._settings):
            queues = sorted(cast("set[str]", self._redis.smembers(names.QUEUES)))
            lists = {list_of(names.line_of(queue), rank): queue for queue in queues for rank in (FIRST, LINE)}
            pipeline = self._redis.pipeline(transaction=False)
            for key, queue in lists.items():
                pipeline.llen(key)
                pipeline.zcard(names.line_key(queue))
            sizes = pipeline.execute()
        pairs = zip(lists.items(), sizes[::2], sizes[1::2], strict=True)
        return {key: queue for (key, queue), stands, released in pairs if stands > released + _MOST_STALE}

    def _drop_from(self, key: str, queue: str, most: int) -> int:
        dropped = self._scripts.run("drop_stale", list=key, queue=queue, task=names.RUN_TASK, most=max(1, most))
        if not dropped:
            self._rests[key] = self._clock() + _REST_S
        return int(dropped)
