"""
Which images have been kept long enough, for a sweep: what a store does that has no rule to delete them by itself.

It goes by the time of the upload, as such a rule does. Files that callers have uploaded are none of its business.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from storage.keys import parse_key, results_root
from storage.store import Store, StoredObject

_DAY_S = 24 * 3600


def expired(store: Store, days: int, now: float) -> Iterator[StoredObject]:
    """
    Objects of ours that were uploaded more than `days` days before `now` (Unix time, seconds).

    Keys begin with the day of the job's submission, which is never after the upload: the listing ends with that day.

    Raises:
        StorageUnavailable, StorageMisconfigured
    """
    before = now - days * _DAY_S
    last_day = (datetime.fromtimestamp(before, UTC) + timedelta(days=1)).date()  # For clocks that do not agree.
    for each in store.objects(results_root(store.settings.prefix)):
        found = parse_key(store.settings.prefix, each.key)
        if found is None:
            continue
        if found.day > last_day:
            return
        if each.modified_at < before:
            yield each
