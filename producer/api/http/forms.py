"""
Bodies of several parts (multipart/form-data, RFC 7578), read as they come: nothing is kept here, in memory or on disk.

The parts are python-multipart's to find; what each of them may be is said here, and by who reads it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from producer.api.http.bodies import check_type, stream
from producer.api.http.errors import BodyMalformed, BodyOfOtherType

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FORM_TYPE = "multipart/form-data"
AROUND_BYTES = 65_536  # What may stand around the files of a form: its fields, and the heads of all parts.

_MOST_PARTS = 100
_AS_IT_IS = ("", "binary", "8bit", "7bit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The head of a part: the name of a field, and what its file is called; None where it is no file."""

    name: str
    filename: str | None


async def read_form(request: Request, *, max_bytes: int, timeout_s: float) -> AsyncGenerator[Part | bytes]:
    """
    The parts of a form, one after the other: each begins with its head, and its bytes follow in pieces.

    Args:
        max_bytes, timeout_s: As of `stream`.

    Raises:
        BodyTooLarge, BodyTooSlow, BodyOfOtherType
        BodyMalformed: It is no such form, or ended early.
    """
    check_type(request, FORM_TYPE)
    found = _Found(_boundary(request))
    async for chunk in stream(request, max_bytes=max_bytes, timeout_s=timeout_s):
        for each in found.in_chunk(chunk):
            yield each
    if not found.has_ended:
        raise BodyMalformed("the body of this request ended before its last boundary")


def _boundary(request: Request) -> bytes:
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary")
    if not boundary:
        raise BodyOfOtherType("Content-Type", f"{FORM_TYPE} needs its boundary")
    return boundary


class _Found:
    """What the parser calls for one form."""

    def __init__(self, boundary: bytes) -> None:
        self.has_ended = False
        self._parts = 0
        self._found: list[Part | bytes] = []
        self._head: dict[str, bytes] = {}
        self._name, self._value = bytearray(), bytearray()
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_head,
            "on_part_data": lambda data, start, end: self._found.append(data[start:end]),
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as exc:
            raise BodyOfOtherType("Content-Type", "its boundary is too long") from exc

    def in_chunk(self, chunk: bytes) -> list[Part | bytes]:
        """What the next bytes of the body have. Raises `BodyMalformed`."""
        try:
            self._parser.write(chunk)
        except FormParserError as exc:
            raise BodyMalformed(f"the body is not valid {FORM_TYPE} (RFC 7578)") from exc
        found, self._found = self._found, []
        return found

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise BodyMalformed(f"the body has more than {_MOST_PARTS} parts")
        self._head = {}

    def _end_header(self) -> None:
        self._head[self._name.decode("latin-1").lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _end_head(self) -> None:
        kind, options = parse_options_header(self._head.get("content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise BodyMalformed("a part of the body has no name: Content-Disposition must be form-data; name=…")
        if self._head.get("content-transfer-encoding", b"").strip().lower().decode("latin-1") not in _AS_IT_IS:
            raise BodyMalformed("Content-Transfer-Encoding: must be binary; send the parts of the body as they are")
        filename = options.get(b"filename")
        self._found.append(Part(name=_text(options[b"name"]), filename=None if filename is None else _text(filename)))

    def _end(self) -> None:
        self.has_ended = True


def _text(raw: bytes) -> str:
    """UTF-8, as RFC 7578 (5.1.2) has it; older programs' Latin-1 is no reason to refuse a name."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
