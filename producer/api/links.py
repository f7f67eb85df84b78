"""
Presigned links that are made once and handed out for half of their life, because signing one takes 0.25 ms.

Half of their life is half a day, in which any number of jobs may be read once and never again: what is kept has a bound
that is full after minutes, and those that nobody asked for are forgotten first.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Hashable
from operator import attrgetter

from cachetools import TTLCache, cachedmethod

from storage.store import Store

_MOST_BYTES = 4 << 20  # About 4,000 links; a page has 100 jobs, most with one or two.
_ENTRY_BYTES = 576  # What a link takes beside its text: its key with its name, and its places in the cache.


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
        self._made: TTLCache[Hashable, str] = TTLCache(
            _MOST_BYTES, ttl=self.expiry_s / 2, timer=clock, getsizeof=_bytes_of
        )
        self._lock = threading.Lock()  # Pages are made in several threads.

    @cachedmethod(attrgetter("_made"), lock=attrgetter("_lock"))
    def link(self, key: str, content_type: str) -> str:
        """A link to an object."""
        return self._store.link(key, content_type)


def _bytes_of(link: str) -> int:
    return sys.getsizeof(link) + _ENTRY_BYTES
