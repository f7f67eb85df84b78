"""
A parser that goes on within the body of a request which asks for another protocol (RFC 9110, 7.8).

httptools takes what stands behind such a head for that protocol, and its parser has no way back. We speak no other: the
body is that of a request like all others, as long as its head says. Who took its bytes for the next request would let
the sender of a body write requests in the name of whoever shares the connection.
"""

from __future__ import annotations

from typing import Protocol

import httptools

_FRAMING = (b"content-length", b"transfer-encoding")


class Resumed(Protocol):
    """The callbacks of a parser, for the requests that it finds."""

    is_resuming: bool  # What the parser calls now, it knows already.


def framing_of(fields: list[tuple[bytes, bytes]]) -> bytes:
    """The lines of a head that say how its body comes; nothing where there is none. Names are in lower case."""
    return b"".join(b"%s: %s\r\n" % each for each in fields if each[0] in _FRAMING)


def parser_within(framing: bytes, options: Resumed) -> httptools.HttpRequestParser:
    """A parser that stands where a body begins which comes as `framing` says."""
    parser = httptools.HttpRequestParser(options)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # As uvicorn's.
    options.is_resuming = True
    try:
        parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
    finally:
        options.is_resuming = False
    return parser
