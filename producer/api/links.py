"""Presigned links that are made once and handed out for half of their life, because signing one takes a millisecond."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from operator import attrgetter

from cachetools import TTLCache, cachedmethod

from storage.store import Store

_MOST = 50_000  # Of about 500 bytes each.


class Links:
    """
    The links of one process.

    Each that is handed out works for half of the store's `link_expiry_s` at least.

    Attributes:
        expiry_s: The store's.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self.expiry_s = store.settings.link_expiry_s
        self._made: TTLCache[Hashable, str] = TTLCache(_MOST, ttl=self.expiry_s / 2, timer=clock)
        self._lock = threading.Lock()  # Pages are made in several threads.

    @cachedmethod(attrgetter("_made"), lock=attrgetter("_lock"))
    def link(self, key: str, content_type: str) -> str:
        """A link to an object."""
        return self._store.link(key, content_type)
