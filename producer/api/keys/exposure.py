"""Who may reach the API: while there are no keys, this machine alone."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from jobs.errors import InvalidConfiguration
from producer.api.settings import ApiSettings
from producer.keys.store import KeyStore

# What proxies and networks in front of a server add to what they pass on, beside what begins as `_FORWARDED` does.
_ADDED = (
    "Forwarded",
    "Via",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Original-Forwarded-For",
    "X-Original-Host",
    "X-Envoy-External-Address",
    "X-Azure-ClientIP",
    "X-Appengine-User-IP",
    "CDN-Loop",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "True-Client-IP",
)
_FORWARDED = "x-forwarded-"


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


def needs_key(settings: ApiSettings) -> bool:
    """Whether nobody is let in without a key, even while there are none: as asked, or as others are meant to come."""
    return settings.require_key or not is_loopback(urlsplit(settings.public_url).hostname or "localhost")


def proxy_sign(http_version: str, headers: Mapping[str, str]) -> str | None:
    """
    What shows that a request was passed on by a proxy; None for nothing.

    Not all do show it. Connections of its own, by HTTP/1.0, are what nginx makes by default.

    Args:
        headers: By any spelling of their names.
    """
    added = next((name for name in _ADDED if name in headers), None)
    if added is None:
        added = next((name for name in headers if name.lower().startswith(_FORWARDED)), None)
    if added is not None:
        return f"the header {added}"
    is_closing = headers.get("connection", "").strip().lower() == "close"
    return "HTTP/1.0 with `Connection: close`" if http_version == "1.0" and is_closing else None


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
            f"there is no API key: listening on {host} only, and everyone on this machine may do everything; "
            "`./imagemill keys create NAME` creates a key, and the API then requires one"
        )
    raise InvalidConfiguration(
        f"host: {host} can be reached from outside, and there is no API key yet; "
        "make one with `./imagemill keys create NAME`, or listen on 127.0.0.1"
    )
