"""
Fetches what a caller names by URL, from hosts that the operator lists, and from nothing else.

A name is resolved once; each of its addresses is looked at, and it is one of these that is connected to: a name server
that answers otherwise the second time changes nothing. No proxy is used. Redirects are followed, each as if the caller
had named it.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Timer
from urllib.parse import SplitResult, urljoin, urlsplit

from jobs.process.settings import Settings

MAX_FETCH_S = 20.0
_SILENCE_S = 5.0  # of a host, at most
_MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_HTTPS_PORT = 443
_AGENT = "imagemill"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Prefixes whose addresses hold an IPv4 address: RFC 6052 (2.1 and 3.1), RFC 8215.
_TRANSLATED = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
# What Python 3.11 does not know: IETF protocol assignments (RFC 6890), which clouds use; relays of 6to4 (RFC 7526).
_SPECIAL = (ipaddress.IPv4Network("192.0.0.0/24"), ipaddress.IPv4Network("192.88.99.0/24"))


class UrlRefused(ValueError):
    """A URL that is not fetched, or that gave nothing. Its text is a sentence for a person."""


def fetch(url: str, settings: Settings, *, max_bytes: int, max_s: float = MAX_FETCH_S) -> bytes:
    """
    What a URL gives.

    Args:
        max_bytes: More is refused, as soon as it is known.
        max_s: How long each host may take in all; resolving its name comes before.

    Raises:
        UrlRefused: Its host is not listed, or is inside; it gives nothing, too much, or too slowly.
    """
    for _ in range(_MAX_REDIRECTS + 1):
        parts = _checked(url, settings)
        with _asked(parts, settings, max_s) as answer:
            if answer.status not in _REDIRECTS:
                return _body(answer, max_bytes)
            url = urljoin(url, answer.headers.get("Location", ""))
    raise UrlRefused(f"the URL leads to more than {_MAX_REDIRECTS} others")


def is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    """Whether an address may be connected to: a public one, or one of these networks."""
    if (carried := _carried(address)) is not None:
        return is_allowed(carried, networks)
    if any(address in network for network in networks if network.version == address.version):
        return True
    return _is_public(address)


def _is_public(address: Address) -> bool:
    if any(address in network for network in _SPECIAL if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _carried(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if any(address in network for network in _TRANSLATED):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if (teredo := address.teredo) is not None:
        return teredo[1]
    return address.ipv4_mapped or address.sixtofour


def _checked(url: str, settings: Settings) -> SplitResult:
    if not settings.input_url_hosts:
        raise UrlRefused("URLs are not fetched here; upload the picture to /v1/files")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise UrlRefused("this is no URL: encode what is not ASCII")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _HTTPS_PORT
    except ValueError as exc:
        raise UrlRefused("this is no URL") from exc
    if parts.scheme != "https":
        raise UrlRefused("only https URLs are fetched")
    if parts.username is not None or parts.password is not None:
        raise UrlRefused("a URL with a user name is not fetched")
    if not any(_is_listed(host, port, each) for each in settings.input_url_hosts):
        raise UrlRefused(f"the operator does not list the host {parts.netloc}")
    return parts


def _is_listed(host: str, port: int, listed: str) -> bool:
    """`*.example.com` is every name below it, and not `example.com`; without a port it is that of https."""
    name, _, own_port = listed.partition(":")
    if port != int(own_port or _HTTPS_PORT):
        return False
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


class _Connection(http.client.HTTPSConnection):
    """To an address that was looked at, whatever the name says later. It can be broken off by another thread."""

    def __init__(self, host: str, port: int, address: Address) -> None:
        super().__init__(host, port, timeout=_SILENCE_S)
        self._address = address
        self._is_late = False

    def break_off(self) -> None:
        self._is_late = True
        with suppress(OSError, AttributeError):  # It may have ended by itself.
            self.sock.shutdown(socket.SHUT_RDWR)

    def check(self) -> None:
        """What was read of one that was broken off may look whole, for it ended."""
        if self._is_late:
            raise UrlRefused(f"{self.host} took too long")

    def connect(self) -> None:
        family = socket.AF_INET if self._address.version == 4 else socket.AF_INET6
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(_SILENCE_S)
        self.sock.connect((str(self._address), self.port))
        context = ssl.create_default_context()
        self.sock = context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock.do_handshake()  # Which can be broken off, like all that follows.


@contextmanager
def _asked(url: SplitResult, settings: Settings, max_s: float) -> Iterator[http.client.HTTPResponse]:
    """The answer, whose body is still to be read. When its time is over, it breaks off."""
    host, port = url.hostname or "", url.port or _HTTPS_PORT
    connection = _Connection(host, port, _address(host, port, settings))
    late = Timer(max_s, connection.break_off)
    late.daemon = True
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        late.start()
        connection.request("GET", target, headers={"User-Agent": _AGENT, "Accept": "image/*"})
        yield connection.getresponse()
        connection.check()
    except UrlRefused:
        connection.check()
        raise
    except (http.client.HTTPException, OSError, ValueError) as exc:
        connection.check()
        raise UrlRefused(f"{host} does not answer") from exc
    finally:
        late.cancel()
        connection.close()


def _address(host: str, port: int, settings: Settings) -> Address:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [ipaddress.ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found]
    except (OSError, ValueError) as exc:
        raise UrlRefused(f"there is no host {host}") from exc
    if not all(is_allowed(each, settings.input_url_networks) for each in addresses):
        # Which address it is, a client need not know.
        raise UrlRefused(f"the host {host} has an address that is not public")
    return addresses[0]


def _body(answer: http.client.HTTPResponse, max_bytes: int) -> bytes:
    if answer.status != http.client.OK:
        raise UrlRefused(f"the URL answers with status {answer.status}")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise UrlRefused("the URL gives its bytes packed, though that was not asked for")
    body = answer.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise UrlRefused(f"the URL has more than {max_bytes} bytes")
    if answer.length:  # What is left of what it said that there is.
        raise UrlRefused("the URL broke off")
    return body
