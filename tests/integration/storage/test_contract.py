"""
The contract of a store, which each has to keep.

A further one gets a line in `STORES` of the conftest, and is put to it.
"""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.errors import ObjectNotFound, ObjectTooLarge
from storage.store import Store

ODD_NAMES = ["with space.png", "plus+percent%25.png", "quote'&<>;=,$@!*().png", "ümläut-日本-🙂.png", "a..b/~tilde.png"]
BODY = bytes(range(256)) * 1_000


@pytest.mark.parametrize("body", [BODY, b""], ids=["some bytes", "none"])
def test_object_is_read_back_as_it_was_put(any_store: Store, key: str, body: bytes) -> None:
    any_store.put(key, body, "image/png")
    assert any_store.get(key) == body
    assert any_store.size(key) == len(body)


def test_later_put_replaces_the_object(any_store: Store, key: str) -> None:
    any_store.put(key, b"one", "image/png")
    any_store.put(key, b"two", "image/png")
    assert any_store.get(key) == b"two"


def test_deleted_object_is_gone_and_deleting_again_is_no_error(any_store: Store, key: str) -> None:
    any_store.put(key, BODY, "image/png")
    for _ in range(2):
        any_store.delete(key)
        with pytest.raises(ObjectNotFound, match=key):
            any_store.get(key)


def test_missing_object_is_an_error_that_names_it(any_store: Store, key: str) -> None:
    for ask in (any_store.get, any_store.size):
        with pytest.raises(ObjectNotFound, match=key):
            ask(key)


def test_object_that_is_too_large_is_not_read(any_store: Store, key: str) -> None:
    any_store.put(key, BODY, "image/png")
    assert any_store.get(key, max_bytes=len(BODY)) == BODY
    with pytest.raises(ObjectTooLarge, match=f"{len(BODY)} bytes, more than {len(BODY) - 1}"):
        any_store.get(key, max_bytes=len(BODY) - 1)


def test_it_may_be_prepared_again_and_written_to(any_store: Store) -> None:
    any_store.prepare()
    any_store.check()
    any_store.check_write(1_000)
    assert any_store.name
    assert any_store.where


def test_large_object_is_read_back_as_it_was_put(any_store: Store, key: str) -> None:
    body = os.urandom(24 << 20)
    any_store.put(key, body, "image/png")
    assert any_store.get(key) == body


def test_many_threads_use_one_store(any_store: Store, key: str) -> None:
    def there_and_back(number: int) -> bool:
        body = BODY + bytes([number])
        any_store.put(f"{key}.{number}", body, "image/png")
        return any_store.get(f"{key}.{number}") == body

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(there_and_back, range(64)))


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_kept_listed_and_deleted(any_store: Store, name: str) -> None:
    folder = f"{uuid.uuid4()}/"
    any_store.put(folder + name, b"here", "image/png")
    assert any_store.get(folder + name) == b"here"
    assert [each.key for each in any_store.objects(folder)] == [folder + name]
    any_store.delete_many([folder + name])
    assert list(any_store.objects(folder)) == []


def test_objects_are_listed_in_order_with_size_and_time(any_store: Store) -> None:
    folder = f"{uuid.uuid4()}/"
    names = ["10/0.png", "2/0.png", "2/job.json", "a.png", "b/c/d.png"]
    for name in reversed(names):
        any_store.put(folder + name, name.encode(), "image/png")
    found = list(any_store.objects(folder))
    assert [each.key for each in found] == [folder + name for name in names]
    assert [each.size_bytes for each in found] == [len(name) for name in names]
    assert all(abs(each.modified_at - time.time()) < 900 for each in found)
    assert [each.key for each in any_store.objects(folder, after=f"{folder}2/job.json")] == [
        folder + "a.png",
        folder + "b/c/d.png",
    ]
    assert list(any_store.objects(f"{folder}nothing/")) == []


def test_thousands_of_objects_are_listed_and_deleted(any_store: Store) -> None:
    folder = f"{uuid.uuid4()}/"
    keys = [f"{folder}{number:04}" for number in range(1_050)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda key: any_store.put(key, b"", "image/png"), keys))
    assert [each.key for each in any_store.objects(folder)] == keys
    any_store.delete_many([*keys[:-1], f"{folder}was never there"])
    assert [each.key for each in any_store.objects(folder)] == keys[-1:]
