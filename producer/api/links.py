"""Presigned links that are made once and handed out for half of their life, because signing one takes a millisecond."""

from __future__ import annotations

import time

from storage.store import Store

_MOST = 50_000  # Of about 500 bytes each.


class Links:
    """
    The links of one process.

    Each that is handed out works for half of the store's `link_expiry_s` at least.

    Attributes:
        expiry_s: The store's.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.expiry_s = store.settings.link_expiry_s
        self._keep_s = self.expiry_s / 2
        self._made: dict[str, tuple[float, str]] = {}  # in the order of making, so the oldest stand first

    def link(self, key: str, content_type: str) -> str:
        """A link to an object."""
        now = time.monotonic()
        made_at, url = self._made.get(key, (float("-inf"), ""))
        if now < made_at + self._keep_s:
            return url
        self._made.pop(key, None)
        if len(self._made) >= _MOST:
            del self._made[next(iter(self._made))]
        url = self._store.link(key, content_type)
        self._made[key] = (now, url)
        return url
