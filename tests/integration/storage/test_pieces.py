"""Objects come piece by piece, from any byte on, and from another place of the same store."""

from __future__ import annotations

import pytest

from storage.backends.s3.store import S3Store
from storage.errors import NotSupported, ObjectNotFound, StorageMisconfigured
from storage.store import Store
from tests.integration.storage.conftest import NewStore
from tests.unit.storage.memory import MemorySettings, MemoryStore

BODY = bytes(range(256)) * 10_000


def etag_of(store: Store, key: str) -> str:
    return next(each.etag for each in store.objects(key) if each.key == key)


@pytest.mark.parametrize("start", [0, 1, len(BODY) - 1])
def test_object_comes_from_any_byte_on(any_store: Store, key: str, start: int) -> None:
    any_store.put(key, BODY, "application/octet-stream")
    assert b"".join(any_store.pieces(key, start, etag_of(any_store, key))) == BODY[start:]
    assert b"".join(any_store.pieces(key, start)) == BODY[start:]


def test_object_that_is_not_there_has_no_pieces(any_store: Store, key: str) -> None:
    with pytest.raises(ObjectNotFound):
        list(any_store.pieces(key))


def test_another_content_is_not_what_was_asked_for(store: S3Store, key: str) -> None:
    store.put(key, BODY, "application/octet-stream")
    before = etag_of(store, key)
    store.put(key, BODY[::-1], "application/octet-stream")
    assert before
    assert before != etag_of(store, key)
    with pytest.raises(ObjectNotFound, match="has changed meanwhile"):
        list(store.pieces(key, 0, before))


def test_other_bucket_is_read_with_the_same_keys(store: S3Store, new_store: NewStore, key: str) -> None:
    other = new_store()
    other.prepare()
    other.put(key, BODY, "application/octet-stream")
    assert store.other_place(other.settings.bucket).get(key) == BODY
    with pytest.raises(ObjectNotFound):
        store.get(key)
    with pytest.raises(StorageMisconfigured):
        store.other_place("No Such Name").get(key)
    with pytest.raises(NotSupported, match="has no other dictionary"):
        MemoryStore(MemorySettings()).other_place("another")
