"""How long images are kept: by the store's own rule, or by a sweep. Nobody else's objects or rules are touched."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from ops.process import wait_until
from storage import retention
from storage.backends.s3.store import S3Store
from storage.errors import NotSupported, ObjectNotFound, StorageMisconfigured
from storage.keys import input_key
from tests.integration.storage.conftest import NewStore

DAY_S = 24 * 3600.0
FILE = "file-0123456789abcdefghijklmn"
OTHERS = {"ID": "somebody's", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}


def key_of(prefix: str = "pictures/", day: datetime | None = None, name: str = "0.png") -> str:
    return f"{prefix}{day or datetime.now(UTC):%Y/%m/%d}/{uuid.uuid4()}/1-0123456789abcdef/{name}"


def put(store: S3Store, *keys: str) -> None:
    for key in keys:
        store.put(key, b"here", "image/png")


def is_there(store: S3Store, key: str) -> bool:
    try:
        store.get(key)
    except ObjectNotFound:
        return False
    return True


@pytest.fixture
def ours(new_store: NewStore) -> S3Store:
    store = new_store()
    store.prepare()
    return store


def test_rule_comes_and_goes_and_those_of_others_stay(ours: S3Store, has_rules: bool) -> None:
    if not has_rules:
        pytest.skip("this store has no lifecycle rules")
    ours.rules.replace([OTHERS])
    assert ours.rules.find() is None
    for days in (30, 7):
        ours.set_retention_rule(days)
        rule = ours.rules.find()
        assert rule is not None
        assert (rule["Expiration"]["Days"], rule["Filter"]["Prefix"]) == (days, "pictures/2")
        assert ours.retention_rule() == days
        assert ours.expiry_days(key_of()) == days
        assert ours.expiry_days(input_key("pictures", FILE)) is None
        assert sorted(each["ID"] for each in ours.rules.all()) == sorted([rule["ID"], OTHERS["ID"]])
    assert ours.remove_retention_rule()
    assert not ours.remove_retention_rule()
    assert ours.retention_rule() is None
    assert [each["ID"] for each in ours.rules.all()] == [OTHERS["ID"]]


def test_rule_that_would_take_uploaded_files_is_seen(ours: S3Store, has_rules: bool) -> None:
    """As an earlier version has set it, and as an operator may."""
    if not has_rules:
        pytest.skip("this store has no lifecycle rules")
    ours.rules.replace([OTHERS, {**OTHERS, "ID": "all", "Filter": {"Prefix": "pictures/"}, "Expiration": {"Days": 9}}])
    assert ours.expiry_days(input_key("pictures", FILE)) == 9
    assert ours.retention_rule() is None


def test_installations_of_two_prefixes_have_a_rule_each(ours: S3Store, has_rules: bool) -> None:
    if not has_rules:
        pytest.skip("this store has no lifecycle rules")
    other = S3Store(ours.settings.model_copy(update={"prefix": "pictures2"}))
    ours.set_retention_rule(7)
    other.set_retention_rule(30)
    assert other.remove_retention_rule()
    rule = ours.rules.find()
    assert rule is not None
    assert rule["Expiration"]["Days"] == 7
    assert ours.remove_retention_rule()
    assert ours.rules.all() == []


def test_store_without_rules_says_so_and_loses_nothing(ours: S3Store, has_rules: bool) -> None:
    """rclone takes the request that removes rules for the removal of the bucket."""
    if has_rules:
        pytest.skip("this store has lifecycle rules")
    calls: tuple[Callable[[], object], ...] = (
        lambda: ours.set_retention_rule(7),
        ours.retention_rule,
        lambda: ours.expiry_days(key_of()),
        ours.remove_retention_rule,
        lambda: ours.rules.replace([]),
    )
    for call in calls:
        with pytest.raises(NotSupported, match="no lifecycle rules"):
            call()
        ours.check()


def test_rule_for_a_whole_bucket_has_to_be_asked_for(new_store: NewStore, has_rules: bool) -> None:
    store = new_store(prefix="")
    store.prepare()
    with pytest.raises(StorageMisconfigured, match=r"IMAGEMILL_S3_PREFIX is empty.*--whole-bucket"):
        store.set_retention_rule(7)
    if has_rules:
        store.set_retention_rule(7, whole_place=True)
        assert store.rules.find() is not None


def test_store_deletes_what_its_rule_says_and_nothing_else(ours: S3Store, has_rules: bool) -> None:
    """`S3_LIFECYCLE_DAY_S` says how long a day of the store's rules lasts, where that is less than a day."""
    day_s = float(os.environ.get("S3_LIFECYCLE_DAY_S", "0"))
    if not has_rules or not day_s:
        pytest.skip("this store has no lifecycle rules, or S3_LIFECYCLE_DAY_S does not say that its days are short")
    old, others, beside = key_of(), f"logs/{uuid.uuid4()}", f"pictures2/{uuid.uuid4()}"
    uploaded = input_key("pictures", FILE)
    put(ours, uploaded, old, others, beside)
    ours.set_retention_rule(1)
    assert wait_until(lambda: not is_there(ours, old), deadline_s=30 * day_s)
    for stays in (others, beside, uploaded):
        assert is_there(ours, stays)


def test_sweep_finds_what_is_old_and_ours(ours: S3Store) -> None:
    now = time.time()
    yesterday = datetime.now(UTC) - timedelta(days=1)
    old = [key_of(), key_of(day=yesterday), key_of(name="job.json"), key_of(name="0.thumb.webp")]
    foreign = [
        "pictures/readme.txt",
        "pictures/2026/11/24/notes.png",
        key_of("pictures2/"),
        key_of(""),
        key_of(name="x.png"),
        input_key("pictures", FILE),
    ]
    foreign.append(key_of("pictures/9999/"))
    put(ours, *old, *foreign)
    assert list(retention.expired(ours, 1, now)) == []
    assert sorted(each.key for each in retention.expired(ours, 1, now + 1.5 * DAY_S)) == sorted(old)
    assert list(retention.expired(ours, 3, now + 1.5 * DAY_S)) == []
