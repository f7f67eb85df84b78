"""
Cuts a body with many JSON values into these values while it comes: JSON lines, or one array.

Neither is ever whole in memory. A value that is too long is passed over, and stands as None in what comes out.

By hand, because ijson (3.6.0 with yajl2_c, 2026-11-30, 2 cores, no GPU) has no bound for one value: an object of 29 MiB
took 327 MiB before anybody could refuse it, a string of 30 MiB in pieces of 8 KiB 37 s of a processor (here: none, and
0.3 s), and a number of 4,301 digits ended the process with SIGSEGV.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from producer.api.http.errors import BodyMalformed

_OUTSIDE_STRING = re.compile(rb'["\[\]{},]')
_INSIDE_STRING = re.compile(rb'["\\]')
_SPACE = b" \t\r\n"


class Items:
    """
    The values of one body. The first character shows which of both it is: lines are objects.

    A byte order mark in front is passed over (RFC 8259, 8.1).
    """

    def __init__(self, max_item_bytes: int) -> None:
        self._max_item_bytes = max_item_bytes
        self._cutter: _Lines | _Array | None = None
        self._begin: bytes | None = b""  # What has come, while it may be the first bytes of a byte order mark.

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """
        The values that end in this chunk; those of an array may be no JSON themselves, or empty.

        Raises:
            BodyMalformed: It is an array, and no JSON.
        """
        if self._begin is not None:
            self._begin += chunk
            if len(self._begin) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(self._begin):
                return
            chunk, self._begin = self._begin.removeprefix(codecs.BOM_UTF8), None
        if self._cutter is None:
            chunk = chunk.lstrip(_SPACE)
            if not chunk:
                return
            value = _Value(self._max_item_bytes)
            self._cutter = _Array(value) if chunk.startswith(b"[") else _Lines(value)
            chunk = chunk.removeprefix(b"[")
        yield from self._cutter.feed(chunk)

    def finish(self) -> Iterator[bytes | None]:
        """What is left when the body has ended. Raises as `feed` does."""
        if self._begin:  # It was none.
            begin, self._begin = self._begin, None
            yield from self.feed(begin)
        if self._cutter is not None:
            yield from self._cutter.finish()


class _Value:
    """What has come of the value that comes now."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = bytearray()
        self._is_too_long = False

    def add(self, part: bytes) -> None:
        if len(self._bytes) + len(part) > self._max_bytes:
            self._is_too_long = True
            self._bytes.clear()
        elif not self._is_too_long:
            self._bytes += part

    @property
    def is_empty(self) -> bool:
        return not self._is_too_long and not self._bytes.strip()

    def take(self) -> bytes | None:
        taken = None if self._is_too_long else bytes(self._bytes)
        self._bytes.clear()
        self._is_too_long = False
        return taken


class _Lines:
    """A value in each line; blank lines are none."""

    def __init__(self, value: _Value) -> None:
        self._value = value

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._value.add(part)
            yield from self.finish()
        self._value.add(rest)

    def finish(self) -> Iterator[bytes | None]:
        if not self._value.is_empty:
            yield self._value.take()
        else:
            self._value.take()


class _Array:
    """The elements of an array, from behind its bracket: between commas in no string and no other bracket."""

    def __init__(self, value: _Value) -> None:
        self._value = value
        self._depth = 1
        self._is_in_string = False
        self._is_escaped = False
        self._has_commas = False

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        start, at = 0, int(self._is_escaped)
        self._is_escaped = False
        while self._depth:
            found = (_INSIDE_STRING if self._is_in_string else _OUTSIDE_STRING).search(chunk, at)
            if found is None:
                self._value.add(chunk[start:])
                return
            mark, at = found[0], found.end()
            if mark == b"\\":
                self._is_escaped = at == len(chunk)
                at += 1
            elif self._ends_element(mark):
                self._value.add(chunk[start : found.start()])
                start = at
                if self._has_commas or not self._value.is_empty:  # [] has no element, [1,] a second one that is none
                    yield self._value.take()
        if chunk[start:].strip(_SPACE):
            raise BodyMalformed("the body is not valid JSON: there is text after its array")

    def _ends_element(self, mark: bytes) -> bool:
        match mark:
            case b'"':
                self._is_in_string = not self._is_in_string
            case b"[" | b"{":
                self._depth += 1
            case b"," if self._depth == 1:
                self._has_commas = True
                return True
            case b"]" | b"}":
                self._depth -= 1
                if self._depth == 0 and mark == b"}":
                    raise BodyMalformed("the body is not valid JSON: its array ends with a brace")
                return self._depth == 0
        return False

    def finish(self) -> Iterator[bytes | None]:
        if self._depth:
            raise BodyMalformed("the body is not valid JSON: its array does not end")
        return iter(())
