"""URLs that callers name: from listed hosts alone, from public addresses alone, within bounds."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from jobs.inputs import urls
from jobs.inputs.urls import UrlRefused, fetch, is_allowed
from jobs.process.settings import Settings

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
BODY = b"a picture" * 1_000
INSIDE = "the host files.test has an address that is not public"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",  # metadata of clouds
        "100.100.100.200",  # Alibaba's
        "192.0.0.192",  # Oracle's
        "100.64.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:0:0:0:0:f5ff:fffe",  # Teredo, of 10.0.0.1
        "fc00::1",
        "fd00:ec2::254",  # Amazon's metadata
        "fe80::1",
        "ff02::1",
        "2001:db8::1",
        "::127.0.0.1",
    ],
)
def test_addresses_of_the_inside_are_refused(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address), ())


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.215.14"])
def test_public_addresses_and_listed_networks_are_allowed(address: str) -> None:
    assert is_allowed(ipaddress.ip_address(address), ())
    assert is_allowed(ipaddress.ip_address("127.0.0.1"), LOOPBACK)
    assert is_allowed(ipaddress.ip_address("::ffff:127.0.0.1"), LOOPBACK)
    assert not is_allowed(ipaddress.ip_address("10.0.0.1"), LOOPBACK)


def settings_for(*hosts: str, networks: tuple[Any, ...] = LOOPBACK) -> Settings:
    return Settings(input_url_hosts=hosts, input_url_networks=networks)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://files.test/a.png", "only https URLs are fetched"),
        ("https://other.test/a.png", "the operator does not list the host other.test"),
        ("https://files.test.other.test/", "the operator does not list"),
        ("https://notfiles.test/", "the operator does not list"),
        ("https://files.test:8443/", "the operator does not list"),
        ("https://me:secret@files.test/", "a URL with a user name is not fetched"),
        ("https://files.test@other.test/", "a URL with a user name is not fetched"),
        ("https://files.test\\@other.test/", "a URL with a user name is not fetched"),
        ("https://files.test#@other.test/", None),
        ("https://127.0.0.1/", "the operator does not list"),
        ("https://[::1]/", "the operator does not list"),
        ("https://2130706433/", "the operator does not list"),
        ("https://cdn.test/", "the operator does not list"),
        ("https:///a.png", "the operator does not list"),
        ("https://files.test:port/", "this is no URL"),
        ("https://fıles.test/", "this is no URL"),
        ("https://files.test/\r\nHost: other.test", "this is no URL"),
        ("https://files.test/ a.png", "this is no URL"),
    ],
)
def test_tricks_with_the_host_are_refused_before_anything_is_asked(
    url: str, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def ask(host: str, *_args: Any, **_options: Any) -> list[Any]:
        asked.append(host)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    with pytest.raises((UrlRefused, IndexError)) as raised:
        fetch(url, settings_for("files.test", "*.cdn.test"), max_bytes=1)
    if says is None:  # Which is a fragment, and not sent: the host is the listed one.
        assert asked == ["files.test"]
    else:
        assert str(raised.value).startswith(says)
        assert asked == []


def test_nothing_is_fetched_where_no_host_is_listed() -> None:
    with pytest.raises(UrlRefused, match="upload the picture to /v1/files"):
        fetch("https://files.test/", settings_for(), max_bytes=1)


def found_at(*addresses: str) -> Callable[..., Any]:
    """As `getaddrinfo` answers."""
    return lambda _host, port, **_: [(0, 0, 0, "", (address, port)) for address in addresses]


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["fe80::1%eth0"]])
def test_a_listed_name_that_leads_inside_is_refused(addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", found_at(*addresses))
    monkeypatch.setattr(socket, "create_connection", lambda *_args, **_options: pytest.fail("connected"))
    with pytest.raises(UrlRefused, match=INSIDE):
        fetch("https://files.test/", settings_for("files.test", networks=()), max_bytes=1)


class Answers(BaseHTTPRequestHandler):
    """What a path gives; `/to/…` leads elsewhere."""

    protocol_version = "HTTP/1.1"
    hold: threading.Event

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/slow":
            self._begin(len(BODY))
            while not self.hold.wait(0.05):
                self.wfile.write(b"x")
        elif self.path == "/slow-head":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.hold.wait(0.05):
                self.wfile.write(b"x")
        elif self.path == "/cut":
            self._begin(len(BODY))
            self.wfile.write(BODY[:100])
            self.close_connection = True
        elif self.path == "/missing":
            self.send_error(404)
        else:
            self._begin(len(BODY))
            self.wfile.write(BODY)

    def _begin(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.send_header("X-Host", self.headers["Host"])
        self.end_headers()

    def log_message(self, *_args: Any) -> None: ...


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def port(authority: trustme.CA) -> Iterator[int]:
    """Of a real server for https://files.test on loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("files.test").configure_cert(context)
    Answers.hold = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        Answers.hold.set()
        server.shutdown()


@pytest.fixture
def listed(
    port: int, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Settings]]:
    """The server's URL, and settings that list it."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setattr(socket, "getaddrinfo", found_at("127.0.0.1"))
    yield f"https://files.test:{port}", settings_for(f"files.test:{port}", "inside.test")


def test_a_listed_host_is_fetched(listed: tuple[str, Settings]) -> None:
    url, settings = listed
    assert fetch(f"{url}/a.png", settings, max_bytes=len(BODY)) == BODY
    assert fetch(f"{url}/to//a.png", settings, max_bytes=len(BODY)) == BODY


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/missing", "the URL answers with status 404"),
        ("/cut", "the URL broke off"),
        ("/to/http://files.test/", "only https URLs are fetched"),
        ("/to/https://other.test/", "the operator does not list the host other.test"),
        ("/to/https://169.254.169.254/latest/meta-data/", "the operator does not list"),
        ("/to/file:///etc/passwd", "only https URLs are fetched"),
        ("/to/" * 5 + "/a.png", "leads to more than 3 others"),
    ],
)
def test_what_a_host_may_do_with_us(listed: tuple[str, Settings], path: str, says: str) -> None:
    url, settings = listed
    with pytest.raises(UrlRefused, match=says):
        fetch(url + path, settings, max_bytes=len(BODY))


def test_a_host_that_a_redirect_names_is_looked_at_like_any_other(
    listed: tuple[str, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, settings = listed
    inside = found_at("10.0.0.1")
    there = found_at("127.0.0.1")
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: (inside if host == "inside.test" else there)(host, *a, **k)
    )
    with pytest.raises(UrlRefused, match=r"inside\.test has an address that is not public"):
        fetch(f"{url}/to/https://inside.test/", settings, max_bytes=len(BODY))


def test_a_name_is_resolved_once(listed: tuple[str, Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    url, settings = listed
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, **_: found_at(*answers.pop(0))(host, port))
    assert fetch(f"{url}/a.png", settings, max_bytes=len(BODY)) == BODY
    assert answers == [["10.0.0.1"]]


def test_too_much_is_refused(listed: tuple[str, Settings]) -> None:
    url, settings = listed
    with pytest.raises(UrlRefused, match=f"has more than {len(BODY) - 1} bytes"):
        fetch(f"{url}/a.png", settings, max_bytes=len(BODY) - 1)


@pytest.mark.parametrize("path", ["/slow", "/slow-head"])
def test_a_host_that_drips_is_left(listed: tuple[str, Settings], path: str) -> None:
    url, settings = listed
    began = time.monotonic()
    with pytest.raises(UrlRefused, match=r"files\.test took too long"):
        fetch(url + path, settings, max_bytes=len(BODY), max_s=0.5)
    assert time.monotonic() - began < 60  # Its 9,000 bytes would take 450 s.


def test_a_host_with_another_certificate_is_refused(
    listed: tuple[str, Settings], monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    _, settings = listed
    settings = settings_for(f"else.test:{port}")
    with pytest.raises(UrlRefused, match=r"else\.test does not answer"):
        fetch(f"https://else.test:{port}/a.png", settings, max_bytes=len(BODY))
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(UrlRefused, match=r"files\.test does not answer"):
        fetch(f"https://files.test:{port}/a.png", settings_for(f"files.test:{port}"), max_bytes=len(BODY))


def test_proxies_of_the_environment_are_not_used(listed: tuple[str, Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    url, settings = listed
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert fetch(f"{url}/a.png", settings, max_bytes=len(BODY)) == BODY
    assert urls.MAX_FETCH_S > 0
