"""The connection to Redis, with every wait bounded, and Redis' errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import redis
from kombu.exceptions import OperationalError
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from jobs.errors import RedisFull, RedisUnavailable
from jobs.settings import Settings

if TYPE_CHECKING:
    import redis.asyncio

SOCKET_TIMEOUT_S = 10.0
_HEALTH_CHECK_INTERVAL_S = 15


def connect(settings: Settings) -> redis.Redis:
    """A client that decodes to str. It connects at its first command; `map_errors` turns what that may raise."""
    return redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        socket_keepalive=True,
        health_check_interval=_HEALTH_CHECK_INTERVAL_S,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), retries=3),
    )


def connect_async(settings: Settings, connections: int, retries: int = 3) -> redis.asyncio.Redis:
    """
    The same for coroutines; one client serves one event loop.

    Args:
        connections: How many it opens at most. Whoever finds all of them in use waits for one.
        retries: How often a command is repeated on a new connection after its own broke.
    """
    import redis.asyncio
    from redis.asyncio.retry import Retry as AsyncRetry

    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.redis_url,
        decode_responses=True,
        max_connections=connections,
        timeout=SOCKET_TIMEOUT_S,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        socket_keepalive=True,
        health_check_interval=_HEALTH_CHECK_INTERVAL_S,
        retry=AsyncRetry(ExponentialBackoff(cap=1.0, base=0.05), retries=retries),
    )
    return redis.asyncio.Redis.from_pool(pool)


def address_of(url: str) -> str:
    """Host, port and database of a Redis URL, without its password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}"


@contextmanager
def map_errors(settings: Settings) -> Iterator[None]:
    """
    Turn redis-py's errors, and what kombu makes of them, into ours.

    Raises:
        RedisUnavailable: With the address and what to do about it.
        RedisFull: It has no memory for what it was asked.
    """
    try:
        yield
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OperationalError) as exc:
        if isinstance(exc.__cause__, redis.exceptions.OutOfMemoryError):  # kombu makes one of the other.
            raise full_error(settings, exc) from exc
        raise RedisUnavailable(
            f"Redis at {address_of(settings.redis_url)} does not answer ({exc}). "
            "Start it (`make up` starts a local one), or set IMAGEMILL_REDIS_URL to where it is."
        ) from exc
    except redis.exceptions.OutOfMemoryError as exc:
        raise full_error(settings, exc) from exc
    except redis.exceptions.RedisError as exc:
        raise RedisUnavailable(f"Redis at {address_of(settings.redis_url)} refuses: {exc}") from exc


def full_error(settings: Settings, exc: Exception) -> RedisFull:
    """What to tell of Redis' own word that it is full."""
    return RedisFull(
        f"Redis at {address_of(settings.redis_url)} is full ({exc}). "
        "Wait until jobs have ended, or give it more memory (maxmemory)."
    )
