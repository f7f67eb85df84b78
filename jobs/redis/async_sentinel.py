"""The same for coroutines: Sentinels, and a bounded pool of connections to the Redis that they name."""

from __future__ import annotations

from typing import Any

import redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from jobs.redis.sentinel import NO_PRIMARY, PRIMARY, not_found


class AsyncSentinelGroup(Sentinel):
    """As `jobs.redis.sentinel.SentinelGroup`."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """
        Host and port of the Redis of that name.

        Raises:
            MasterNotFoundError: None that is up, or no Sentinel answers; the cause is the last one's error then.
        """
        answered, failure = False, None
        for sentinel in tuple(self.sentinels):
            try:
                state: Any = (await sentinel.sentinel_masters()).get(service_name)  # type: ignore[union-attr]
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as exc:
                failure = exc
                continue
            answered = True
            if state and self.check_master_state(state, service_name):
                self.sentinels = [sentinel, *(each for each in self.sentinels if each is not sentinel)]
                return state["ip"], state["port"]
        raise not_found(service_name, None if answered else failure)


class AsyncPrimaryConnection(SentinelManagedConnection):
    """As `jobs.redis.sentinel.PrimaryConnection`."""

    async def connect_to(self, address: tuple[str, int]) -> None:
        """Connect, to a primary or not at all. Raises redis-py's `ConnectionError`."""
        await super().connect_to(address)  # type: ignore[no-untyped-call]
        await self.send_command("ROLE")
        if (await self.read_response())[0] not in PRIMARY:
            await self.disconnect()
            raise redis.exceptions.ConnectionError(NO_PRIMARY)


class AsyncPrimaryTlsConnection(AsyncPrimaryConnection, SentinelManagedSSLConnection):
    """The same through TLS."""


class SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """redis-py's pool of Sentinel raises when all of its connections are in use; here one waits for one."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections; all of them, also those to the Sentinels."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self.sentinel_manager.aclose()


def pool_of(hosts: Any, name: str, sentinel_kwargs: dict[str, Any], options: dict[str, Any]) -> SentinelPool:
    """A pool for the Redis that Sentinels call `name`. Arguments as those of `jobs.redis.sentinel.master_of`."""
    group: Any = AsyncSentinelGroup(hosts, sentinel_kwargs=sentinel_kwargs)  # type: ignore[no-untyped-call]
    connection_class = AsyncPrimaryTlsConnection if options.pop("ssl") else AsyncPrimaryConnection
    return SentinelPool(name, group, connection_class=connection_class, **options)  # type: ignore[no-untyped-call]
