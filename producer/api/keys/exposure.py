"""Where the API may listen: on loopback alone while there are no keys."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from jobs.errors import InvalidConfiguration
from producer.keys.store import KeyStore


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False  # Another name may mean any address.


def host_of(authority: str) -> str:
    """The host of a `Host` header: "[::1]:8000" is "::1"; "" for what is none."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def admit(host: str, keys: KeyStore, *, require_key: bool = False, is_for_all_pages: bool = False) -> str:
    """
    Look whether the API may listen on a host.

    Args:
        require_key: It answers nobody who has no key, even while there are none.
        is_for_all_pages: Browsers may ask it for any page.

    Returns:
        A sentence that says to whom it is open.

    Raises:
        InvalidConfiguration: There are no keys, and others than this machine, or any web page, could reach it.
        RedisUnavailable
    """
    if keys.has_any():
        return "requests need an API key (./imagemill keys)"
    if require_key:
        return "no API key was ever made, so every request is refused: `./imagemill keys create NAME` makes a key"
    if is_for_all_pages:
        raise InvalidConfiguration(
            "cors_origins: * lets any web page ask through a browser on this machine, and there is no API key yet; "
            "make one with `./imagemill keys create NAME`, or name the origins"
        )
    if is_loopback(host):
        return (
            f"no API key was ever made: listening on {host} only, where whoever is on this machine may do everything; "
            "`./imagemill keys create NAME` makes a key, and closes the API to whoever has none"
        )
    raise InvalidConfiguration(
        f"host: {host} can be reached from outside, and there is no API key yet; "
        "make one with `./imagemill keys create NAME`, or listen on 127.0.0.1"
    )
