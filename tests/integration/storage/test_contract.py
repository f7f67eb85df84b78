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
from storage.inputs import Inputs
from storage.store import PART_BYTES, Store

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


SIZES = [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 2 * PART_BYTES + 7]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [1 << 20, 3_000_001])
def test_object_that_came_in_pieces_is_read_back_whole(any_store: Store, key: str, size: int, piece: int) -> None:
    body = os.urandom(size)
    with any_store.upload(key, "image/png") as upload:
        for start in range(0, size, piece):
            upload.write(body[start : start + piece])
    assert any_store.get(key) == body
    assert any_store.drop_uploads(key) == 0


@pytest.mark.parametrize("size", SIZES)
def test_nothing_stays_of_an_upload_that_breaks_off(any_store: Store, key: str, size: int) -> None:
    with pytest.raises(EOFError), any_store.upload(key, "image/png") as upload:
        upload.write(bytes(size))
        raise EOFError
    with pytest.raises(ObjectNotFound):
        any_store.get(key)
    assert any_store.drop_uploads(key) == 0
    any_store.delete(key)  # rclone (1.75) keeps a folder of it until then, and such a bucket cannot be removed.


def test_upload_that_breaks_off_leaves_what_was_there(any_store: Store, key: str) -> None:
    any_store.put(key, b"before", "image/png")
    with pytest.raises(EOFError), any_store.upload(key, "image/png") as upload:
        upload.write(bytes(2 * PART_BYTES))
        raise EOFError
    assert any_store.get(key) == b"before"


def test_files_lie_by_their_ids_and_go_without_their_neighbours(any_store: Store) -> None:
    inputs, ids = Inputs(any_store), [f"file-{uuid.uuid4().hex[:24]}" for _ in range(3)]
    for each in ids:
        with inputs.upload(each, "image/png") as upload:
            upload.write(each.encode())
    assert [inputs.read(each) for each in ids] == [each.encode() for each in ids]
    inputs.delete(ids[:2])
    inputs.clear(ids[1])
    assert inputs.size(ids[2]) == len(ids[2])
    for each in ids[:2]:
        with pytest.raises(ObjectNotFound):
            inputs.read(each)


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
