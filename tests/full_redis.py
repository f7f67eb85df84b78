"""A Redis that has no room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis


@contextmanager
def filled(client: redis.Redis, share: float) -> Iterator[None]:
    """Redis has just this share of what it may have in use."""
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] / share))
    try:
        yield
    finally:
        client.config_set("maxmemory", 0)
