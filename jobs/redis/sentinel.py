"""Asks Sentinels which Redis is the one to talk to. When none says so, the error holds why."""

from __future__ import annotations

from typing import Any

import redis
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

NO_PRIMARY = "the Sentinels name a Redis that is no primary any more, or not yet"
PRIMARY = ("master", b"master")


class SentinelGroup(Sentinel):
    """redis-py's own drops the errors of Sentinels that do not answer, and with them what is wrong with TLS."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """
        Host and port of the Redis of that name.

        Raises:
            MasterNotFoundError: None that is up, or no Sentinel answers; the cause is the last one's error then.
        """
        answered, failure = False, None
        for sentinel in tuple(self.sentinels):
            try:
                state: Any = sentinel.sentinel_masters().get(service_name)  # type: ignore[union-attr]
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as exc:
                failure = exc
                continue
            answered = True
            if state and self.check_master_state(state, service_name):  # type: ignore[no-untyped-call]
                self.sentinels = [sentinel, *(each for each in self.sentinels if each is not sentinel)]
                return state["ip"], state["port"]
        raise not_found(service_name, None if answered else failure)


class PrimaryConnection(SentinelManagedConnection):
    """
    Asks a Redis for its role before it is used, as Sentinel's guide for clients says.

    A Sentinel that is late names the one before, which still reads and subscribes.
    """

    def connect_to(self, address: tuple[str, int]) -> None:
        """Connect, to a primary or not at all. Raises redis-py's `ConnectionError`."""
        super().connect_to(address)  # type: ignore[no-untyped-call]
        self.send_command("ROLE")  # type: ignore[no-untyped-call]
        if self.read_response()[0] not in PRIMARY:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise redis.exceptions.ConnectionError(NO_PRIMARY)


class PrimaryTlsConnection(PrimaryConnection, SentinelManagedSSLConnection):
    """The same through TLS."""


def not_found(name: str, failure: Exception | None) -> MasterNotFoundError:
    """The error for a Redis that no Sentinel names; `failure` is why, where none answers."""
    if failure is None:
        return MasterNotFoundError(f"no Redis {name!r} that is up")
    error = MasterNotFoundError(f"no Sentinel answers: {failure}")
    error.__cause__ = failure
    return error


def master_of(hosts: Any, name: str, sentinel_kwargs: dict[str, Any], options: dict[str, Any]) -> redis.Redis:
    """
    A client of the Redis that Sentinels call `name`, wherever it moves.

    Args:
        hosts: The Sentinels, by host and port.
        name: Their name for it.
        sentinel_kwargs: How to connect to the Sentinels.
        options: How to connect to Redis; `ssl` is whether by TLS.
    """
    group: Any = SentinelGroup(hosts, sentinel_kwargs=sentinel_kwargs)  # type: ignore[no-untyped-call]
    connection_class = PrimaryTlsConnection if options.pop("ssl") else PrimaryConnection
    master: redis.Redis = group.master_for(name, connection_class=connection_class, **options)
    return master
