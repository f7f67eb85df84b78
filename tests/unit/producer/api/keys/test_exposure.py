"""Which addresses only this machine can reach."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from starlette.datastructures import Headers

from producer.api.keys.exposure import host_of, is_loopback, needs_key, proxy_sign
from producer.api.settings import ApiSettings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "", "10.0.0.1", "example.org", "localhost.example.org", "127.0.0.1.nip.io", "*"],  # noqa: S104
)
def test_what_others_can_reach(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("127.0.0.1:8000", "127.0.0.1"),
        ("localhost", "localhost"),
        ("LOCALHOST:1", "localhost"),
        ("[::1]:8000", "::1"),
        ("evil.example:8000", "evil.example"),
        ("user@127.0.0.1", "127.0.0.1"),
        ("[::1", ""),
        ("", ""),
    ],
)
def test_host_of_a_request(authority: str, host: str) -> None:
    assert host_of(authority) == host


@pytest.mark.parametrize(
    ("version", "headers", "sign"),
    [
        ("1.1", {"X-Forwarded-For": "10.0.0.1"}, "the header x-forwarded-for"),
        ("1.1", {"x-forwarded-prefix": "/mill"}, "the header x-forwarded-prefix"),
        ("1.1", {"forwarded": "for=10.0.0.1"}, "the header Forwarded"),
        ("1.1", {"via": "1.1 proxy"}, "the header Via"),
        ("1.1", {"X-REAL-IP": "10.0.0.1"}, "the header X-Real-IP"),
        ("1.1", {"cf-connecting-ip": "10.0.0.1"}, "the header CF-Connecting-IP"),
        ("1.0", {"connection": "close"}, "HTTP/1.0 with `Connection: close`"),
        ("1.0", {"connection": "Keep-Alive"}, None),
        ("1.0", {}, None),
        ("1.1", {"connection": "close"}, None),
        ("1.1", {"forward": "x", "x-request-id": "1"}, None),
    ],
)
def test_request_that_a_proxy_passed_on(version: str, headers: dict[str, str], sign: str | None) -> None:
    assert proxy_sign(version, Headers(headers)) == sign


@pytest.mark.parametrize(
    ("public_url", "is_needed"),
    [
        ("", False),
        ("http://127.0.0.1:8000", False),
        ("http://localhost:8000/mill", False),
        ("http://[::1]:8000", False),
        ("https://images.example.org", True),
        ("http://10.0.0.7:8000", True),
    ],
)
def test_key_is_needed_where_others_are_meant_to_come(public_url: str, is_needed: bool) -> None:
    assert needs_key(ApiSettings(public_url=public_url)) is is_needed
    assert needs_key(ApiSettings(public_url=public_url, require_key=True))


@pytest.mark.parametrize(
    "url", ["images.example.org", "https://", "https://a b", "https://me:word@example.org", "https://example.org/?a"]
)
def test_public_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="public_url"):
        ApiSettings(public_url=url)
