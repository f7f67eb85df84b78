"""
Where Redis is: one URL, of a server or of the Sentinels that know which server it is.

    redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]
    rediss://…                  the same through TLS
    unix://PATH                 a socket on this machine
    sentinel://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][/DATABASE]
    sentinels://…               the same with TLS to the Sentinels and to Redis

Kombu's form of several Sentinels, `sentinel://HOST;sentinel://HOST`, means the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_SCHEMES = ("redis", "rediss", "unix", "sentinel", "sentinels")
_NEXT_SENTINEL = re.compile(r";(sentinels?://)?")
_REDIS_PORT, _SENTINEL_PORT = 6379, 26379


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinels:
    """
    Sentinels by host and port, and what a client sends to the Redis that they name.

    Attributes:
        username, password: Of Redis, not of the Sentinels.
        database: Its number.
    """

    hosts: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None
    database: int


def check_redis_url(url: str) -> str:
    """
    The same URL, if it is one of the forms above.

    Raises:
        ValueError: It is not; says what is wrong, without its password.
    """
    scheme = url.partition("://")[0]
    if "://" not in url or scheme not in _SCHEMES:
        raise ValueError(f"must begin with one of {', '.join(f'{each}://' for each in _SCHEMES)}")
    if scheme.startswith("sentinel"):
        sentinels_of(url)
    elif scheme != "unix":
        _check_port(urlsplit(url).netloc.rpartition("@")[2])
    return url


def check_backend_url(url: str | None) -> str | None:
    """The same URL; if it is one of a Redis, in a form above. Celery knows other result backends, too."""
    if url is None or url.partition("://")[0] not in _SCHEMES:
        return url
    return check_redis_url(url)


def has_tls(url: str) -> bool:
    """Whether the way to Redis is TLS."""
    return url.startswith(("rediss://", "sentinels://"))


def sentinels_of(url: str) -> Sentinels | None:
    """
    The Sentinels that a URL names; None for the URL of a server.

    Raises:
        ValueError: A host, a port or the database is wrong.
    """
    if not url.startswith(("sentinel://", "sentinels://")):
        return None
    scheme, _, rest = url.partition("://")
    parts = urlsplit(f"{scheme}://{_NEXT_SENTINEL.sub(',', rest)}")
    credentials, _, hosts = parts.netloc.rpartition("@")
    if "," in credentials:
        raise ValueError(
            "has a user or password with characters that must be escaped in a URL, or after the first host"
        )
    username, _, password = credentials.partition(":")
    database = parts.path.strip("/") or "0"
    if not database.isdecimal():
        raise ValueError(f"ends with /{database}, which is not a database number")
    return Sentinels(
        hosts=tuple(_host_and_port(each) for each in hosts.split(",")),
        username=unquote(username) or None,
        password=unquote(password) or None,
        database=int(database),
    )


def address_of(url: str) -> str:
    """Hosts, ports and database of a Redis URL, without its password."""
    scheme = url.partition("://")[0]
    if scheme == "unix":
        return f"unix://{urlsplit(url).path}"
    if found := sentinels_of(url):
        return f"{scheme}://{','.join(f'{_bracketed(host)}:{port}' for host, port in found.hosts)}/{found.database}"
    parts = urlsplit(url)
    return f"{scheme}://{_bracketed(parts.hostname or 'localhost')}:{parts.port or _REDIS_PORT}{parts.path}"


def _host_and_port(text: str) -> tuple[str, int]:
    _check_port(text)
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("has no host, or an empty one")
    return parts.hostname, parts.port or _SENTINEL_PORT


def _check_port(netloc: str) -> None:
    try:
        urlsplit(f"//{netloc}").port  # noqa: B018 - asking is what raises
    except ValueError as exc:
        raise ValueError(f"{netloc!r} has no port from 0 to 65535") from exc


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
