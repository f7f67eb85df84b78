"""
What the head of a request may say, before anybody answers it (RFC 9112): whom it asks, for what, how its body comes.

What the parser refuses by itself (two lengths, a length beside an encoding, a name with a space) is not seen here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

import httptools

from producer.api.http.errors import Problem

HEAD_BYTES = 65_536
FIELDS = 128
TARGET_BYTES = 16_384
HOST_BYTES = 255

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")
_PORTS = 65_535
_VERSIONS = ("1.0", "1.1")

Fields = list[tuple[bytes, bytes]]


class HeadRefused(Exception):
    """The head of a request that is not answered but by this problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request asks for, as ASGI has it."""

    path: str
    raw_path: bytes
    query_string: bytes


def check_head(version: str, url: bytes, fields: Fields) -> Target:
    """
    Look at a head that is complete. Of a request for a whole URL the host of that counts (RFC 9112, section 3.2.2): it
    is put into `fields`, whose names are in lower case, instead of theirs.

    Raises:
        HeadRefused: The version is none of ours; no host, or more than one, or what is none; a target that is no path;
            an encoding of the body that is not `chunked`.
    """
    if version not in _VERSIONS:
        raise HeadRefused(
            Problem(status=505, code="version_not_supported", message=f"HTTP/{version} is not spoken here; HTTP/1.1 is")
        )
    target, authority = _parse(url)
    if authority is not None:
        fields[:] = [(b"host", authority), *(each for each in fields if each[0] != b"host")]
    _check_host([value for name, value in fields if name == b"host"], is_needed=version != "1.0")
    _check_encoding([value for name, value in fields if name == b"transfer-encoding"], version)
    return target


def malformed(message: str, field: str | None = None) -> Problem:
    """What is answered to a request that is none."""
    return Problem(status=400, code="malformed_request", message=message, field=field)


def _parse(url: bytes) -> tuple[Target, bytes | None]:
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        raise HeadRefused(malformed("the target of this request is not a path")) from None
    authority = None
    if parsed.host is not None:
        authority = url.split(b"/", 3)[2].split(b"?")[0]
    raw_path = parsed.path or b"/"
    if not raw_path.startswith(b"/"):
        raise HeadRefused(malformed("the target of this request is not a path"))
    return Target(path=unquote(raw_path.decode()), raw_path=raw_path, query_string=parsed.query or b""), authority


def _check_host(named: list[bytes], *, is_needed: bool) -> None:
    if len(named) > 1:
        raise HeadRefused(malformed("Host: is given more than once", "Host"))
    if not named:
        if is_needed:
            raise HeadRefused(malformed("Host: is missing; HTTP/1.1 requires it", "Host"))
        return
    found = _HOST.fullmatch(named[0]) if len(named[0]) <= HOST_BYTES else None
    if found is None or int(found[1] or 0) > _PORTS:
        reason = f"has to be a name or an address, with or without a port, in at most {HOST_BYTES} characters"
        raise HeadRefused(malformed(f"Host: {reason}", "Host"))


def _check_encoding(named: list[bytes], version: str) -> None:
    if not named:
        return
    if version == "1.0":  # RFC 9112, section 6.1: faulty, for its sender does not know where the body ends.
        raise HeadRefused(
            malformed("Transfer-Encoding: is not for HTTP/1.0; send a Content-Length", "Transfer-Encoding")
        )
    if b", ".join(named).strip().lower() != b"chunked":
        message = "Transfer-Encoding: has to be chunked; others are not understood here"
        raise HeadRefused(
            Problem(status=501, code="unsupported_transfer_encoding", message=message, field="Transfer-Encoding")
        )
