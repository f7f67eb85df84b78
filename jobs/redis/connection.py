"""The connection to Redis, with every wait bounded, and Redis' errors as ours."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import redis
from kombu.exceptions import OperationalError
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from jobs.errors import RedisFull, RedisUnavailable
from jobs.process.address import Sentinels, address_of, has_tls, sentinels_of
from jobs.process.settings import Settings
from jobs.redis.advice import advise

if TYPE_CHECKING:
    import redis.asyncio

SOCKET_TIMEOUT_S = 10.0
_SENTINEL_TIMEOUT_S = 2.0
_RETRIES = 3
_BACKOFF = ExponentialBackoff(cap=1.0, base=0.05)
_OPTIONS: dict[str, Any] = {
    "decode_responses": True,
    "socket_timeout": SOCKET_TIMEOUT_S,
    "socket_connect_timeout": SOCKET_TIMEOUT_S,
    "socket_keepalive": True,
    "health_check_interval": 15,
}


def connect(settings: Settings, *, decodes: bool = True) -> redis.Redis:
    """
    A client that decodes to str, or leaves bytes as they are.

    It connects at its first command; `map_errors` turns what that may raise.
    """
    options = {
        **_OPTIONS,
        "decode_responses": decodes,
        **tls_options(settings),
        "retry": Retry(_BACKOFF, _RETRIES),
    }
    found = sentinels_of(settings.redis_url)
    if found is None:
        return redis.Redis.from_url(settings.redis_url, **options)
    from jobs.redis.sentinel import master_of

    sentinel_kwargs = {**sentinel_options(settings), "retry": Retry(NoBackoff(), 0)}
    return master_of(found.hosts, settings.redis_sentinel_master, sentinel_kwargs, options | _login(settings, found))


def connect_async(settings: Settings, connections: int, retries: int = _RETRIES) -> redis.asyncio.Redis:
    """
    The same for coroutines; one client serves one event loop.

    Args:
        connections: How many it opens at most. A caller that finds all in use waits for one.
        retries: How often a command is repeated on a new connection after its own broke.
    """
    import redis.asyncio
    from redis.asyncio.retry import Retry as AsyncRetry

    options: dict[str, Any] = {
        **_OPTIONS,
        **tls_options(settings),
        "retry": AsyncRetry(_BACKOFF, retries),
        "max_connections": connections,
        "timeout": SOCKET_TIMEOUT_S,
    }
    found = sentinels_of(settings.redis_url)
    if found is None:
        pool = redis.asyncio.BlockingConnectionPool.from_url(settings.redis_url, **options)
    else:
        from jobs.redis.async_sentinel import pool_of

        sentinel_kwargs = {**sentinel_options(settings), "retry": AsyncRetry(NoBackoff(), 0)}
        pool = pool_of(found.hosts, settings.redis_sentinel_master, sentinel_kwargs, options | _login(settings, found))
    return redis.asyncio.Redis.from_pool(pool)


def tls_options(settings: Settings) -> dict[str, Any]:
    """What redis-py, kombu and Celery have to know of TLS; nothing where the URL has none."""
    if not has_tls(settings.redis_url):
        return {}
    files = {
        "ssl_ca_certs": settings.redis_tls_ca_file,
        "ssl_certfile": settings.redis_tls_cert_file,
        "ssl_keyfile": settings.redis_tls_key_file,
    }
    return {
        "ssl_cert_reqs": ssl.CERT_NONE if settings.redis_tls_verify == "none" else ssl.CERT_REQUIRED,
        "ssl_check_hostname": settings.redis_tls_verify == "full",
        **{name: str(file) for name, file in files.items() if file is not None},
    }


def sentinel_options(settings: Settings) -> dict[str, Any]:
    """How to reach the Sentinels themselves. One that is away is passed over soon: the next knows the same."""
    login = {"username": settings.redis_sentinel_username, "password": settings.redis_sentinel_password}
    return {
        "socket_timeout": _SENTINEL_TIMEOUT_S,
        "socket_connect_timeout": _SENTINEL_TIMEOUT_S,
        **{name: value for name, value in login.items() if value},
        **({"ssl": True, **tls_options(settings)} if has_tls(settings.redis_url) else {}),
    }


def _login(settings: Settings, found: Sentinels) -> dict[str, Any]:
    return {
        "username": found.username,
        "password": found.password,
        "db": found.database,
        "ssl": has_tls(settings.redis_url),
    }


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
            f"Redis at {address_of(settings.redis_url)} does not answer ({_said(exc)}). {advise(settings, exc)}"
        ) from exc
    except redis.exceptions.OutOfMemoryError as exc:
        raise full_error(settings, exc) from exc
    except redis.exceptions.RedisError as exc:
        raise RedisUnavailable(f"Redis at {address_of(settings.redis_url)} refuses: {exc}") from exc


def _said(exc: Exception) -> str:
    return str(exc).partition(" : <")[0]  # Behind that, redis-py writes all that it knows of each Sentinel.


def full_error(settings: Settings, exc: Exception) -> RedisFull:
    """The sentence for Redis' own error that it is full."""
    return RedisFull(
        f"Redis at {address_of(settings.redis_url)} is full ({exc}). "
        "Drop jobs that have ended (`./imagemill jobs drop`), or give it more memory (maxmemory)."
    )
