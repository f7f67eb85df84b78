"""
How long images are kept: by a lifecycle rule, which the store applies by itself, or by a sweep where it has none.

Both go by the time of the upload. The rule is one of the bucket, found by its id; all others there are left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from storage.errors import StorageMisconfigured
from storage.keys import parse_key, root_of
from storage.s3 import ImageStore, StoredObject

_RULE_ID = "imagemill-retention"
_DAY_S = 24 * 3600


def rule_id(prefix: str) -> str:
    """The id of our rule; two installations in one bucket, of different prefixes, have one each."""
    root = root_of(prefix)
    return f"{_RULE_ID}-{hashlib.sha256(root.encode()).hexdigest()[:12]}" if root else _RULE_ID


def find_rule(store: ImageStore) -> dict[str, Any] | None:
    """
    Our rule, as the store has it; None where there is none.

    Raises:
        NotSupported: The store has no lifecycle rules.
        ObjectNotFound, StorageUnavailable, StorageMisconfigured
    """
    return next((rule for rule in store.lifecycle_rules() if _is_ours(store, rule)), None)


def apply_rule(store: ImageStore, days: int, *, whole_bucket: bool = False) -> None:
    """
    Have the store delete what lies under our prefix, `days` days after its upload.

    Args:
        store: Its bucket's other rules stay as they are.
        days: At least one.
        whole_bucket: Without a prefix the rule is for all that is in the bucket, and this has to be said.

    Raises:
        NotSupported: The store has no lifecycle rules, or does not keep them.
        StorageMisconfigured: There is no prefix, and the whole bucket was not asked for; or the store refuses.
        ObjectNotFound, StorageUnavailable
    """
    root = root_of(store.settings.prefix)
    if not root and not whole_bucket:
        raise StorageMisconfigured(
            f"IMAGEMILL_S3_PREFIX is empty, so the rule would delete everything in bucket {store.settings.bucket!r}, "
            "whoever stored it. Set a prefix, or say --whole-bucket if nothing but images of ours is there."
        )
    rule = {
        "ID": rule_id(store.settings.prefix),
        "Status": "Enabled",
        "Filter": {"Prefix": root},
        "Expiration": {"Days": days},
    }
    others = [each for each in store.lifecycle_rules() if not _is_ours(store, each)]
    store.set_lifecycle_rules([*others, rule])


def remove_rule(store: ImageStore) -> bool:
    """Take our rule away; returns whether there was one. Raises as `find_rule` does."""
    rules = store.lifecycle_rules()
    others = [rule for rule in rules if not _is_ours(store, rule)]
    if len(others) == len(rules):
        return False
    store.set_lifecycle_rules(others)
    return True


def expired(store: ImageStore, days: int, now: float) -> Iterator[StoredObject]:
    """
    Objects of ours that were uploaded more than `days` days before `now` (Unix time, seconds).

    Keys begin with the day of the job's submission, which is never after the upload: the listing ends with that day.

    Raises:
        StorageUnavailable, StorageMisconfigured
    """
    before = now - days * _DAY_S
    last_day = (datetime.fromtimestamp(before, UTC) + timedelta(days=1)).date()  # For clocks that do not agree.
    for each in store.objects(root_of(store.settings.prefix)):
        found = parse_key(store.settings.prefix, each.key)
        if found is None:
            continue
        if found.day > last_day:
            return
        if each.modified_at < before:
            yield each


def _is_ours(store: ImageStore, rule: dict[str, Any]) -> bool:
    return bool(rule.get("ID") == rule_id(store.settings.prefix))
