"""Whether a word stands anywhere: in all of Redis, whatever the type of a key, and in every object of a store."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import redis

from storage.store import Store

MARK = "zebracorn"  # which nobody writes by chance


def _forms(word: str) -> tuple[bytes, ...]:
    """Plain, and in the middle of base64, where it may begin at any of three places; the ends depend on neighbours."""
    shifted = (base64.b64encode(b"." * shift + word.encode()) for shift in range(3))
    return (word.encode(), *(text.rstrip(b"=")[4:-2] for text in shifted))


def in_redis(client: redis.Redis, word: str = MARK) -> list[str]:
    """Keys that hold it; `client` leaves bytes as they are."""
    return [key.decode() for key in client.scan_iter() if _has(b" ".join([key, *_content(client, key)]), word)]


def in_store(store: Store, *words: str) -> list[str]:
    """Keys of objects that hold one of these words, in their names or in their bodies."""
    found = [each.key for each in store.objects()]
    return [key for key in found if any(_has(key.encode() + store.get(key), word) for word in words)]


def _has(text: bytes, word: str) -> bool:
    return any(form in text for form in _forms(word))


def _content(connection: redis.Redis, key: bytes) -> Iterator[bytes]:
    answers: Any
    client: Any = connection
    match client.type(key):
        case b"string":
            yield bytes(client.get(key) or b"")
            return
        case b"hash":
            answers = [part for pair in client.hgetall(key).items() for part in pair]
        case b"list":
            answers = client.lrange(key, 0, -1)
        case b"set":
            answers = client.smembers(key)
        case b"zset":
            answers = client.zrange(key, 0, -1)
        case b"stream":
            answers = [part for _, fields in client.xrange(key) for pair in fields.items() for part in pair]
        case b"none":  # It has expired since it was found.
            return
        case other:
            raise AssertionError(f"{key!r} is a {other!r}, in which nobody looks")
    yield from answers
