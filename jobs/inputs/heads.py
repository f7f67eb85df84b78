"""
What the bytes of a picture say of it before anything is decoded: its format, its size, and whether its end is there.

They may come in pieces, of which none is kept: a file passes by on its way to the store. Its chunks or segments are
walked through; what is in most of them nobody reads here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from jobs.inputs.exif import orientation_of
from jobs.inputs.pieces import Pieces, Steps

MAX_BYTES = 64 << 20  # Of one file: every job in hand may hold some.
MAX_PIXELS = 50_000_000
MAX_SIDE = 32_768

_MOST_PARTS = 100_000  # Chunks or segments: each takes a step, and they may have no bytes of their own.
_MOST_EXIF_BYTES = 65_536
_LYING = range(5, 9)


class PictureRefused(ValueError):
    """What was sent is no picture that can be taken. Its text is a sentence for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """
    What a file says of itself.

    Attributes:
        width, height: In pixels, as it is shown: its orientation is applied.
        orientation: How it is turned (Exif 2.32, 4.6.4 A): 1 is upright.
    """

    content_type: str
    width: int
    height: int
    orientation: int = 1

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height before it is turned."""
        return (self.height, self.width) if self.orientation in _LYING else (self.width, self.height)


def head_of(data: bytes) -> Head:
    """
    What a whole file says of itself.

    Raises:
        PictureRefused: It is no PNG, JPEG or WebP, its end is missing, or it is too large.
    """
    picture = PassingPicture()
    picture.feed(data)
    return picture.finish()


def check_size(width: int, height: int) -> None:
    """Raises `PictureRefused` where a picture has no pixels, or too many."""
    if width < 1 or height < 1:
        raise PictureRefused("the picture has no pixels")
    if max(width, height) > MAX_SIDE:
        raise PictureRefused(f"{width}×{height} pixels: no side may have more than {MAX_SIDE:,}")
    if width * height > MAX_PIXELS:
        raise PictureRefused(f"{width}×{height} is more than {MAX_PIXELS:,} pixels")


class PassingPicture:
    """
    One file, as it passes.

    Attributes:
        content_type: Of its format; None until that is known.
    """

    def __init__(self) -> None:
        self.content_type: str | None = None
        self._found = _Found()
        self._pieces = Pieces()
        self._walk: Steps[None] = self._begin()
        self._is_whole = False

    def feed(self, piece: bytes) -> None:
        """
        Look at the next bytes. What stands behind a picture's end is passed over, as all viewers do.

        Raises:
            PictureRefused: It is no picture that can be taken, whatever comes.
        """
        if self._is_whole:
            return
        self._pieces.add(piece)
        try:
            next(self._walk)
        except StopIteration:
            self._is_whole = True

    def finish(self) -> Head:
        """
        What it was, when all has passed.

        Raises:
            PictureRefused: It has not come to its end.
        """
        if not self._pieces.total:
            raise PictureRefused("the file is empty")
        if self.content_type is None:
            raise _unknown()
        if not self._is_whole:
            raise PictureRefused("the file is broken or not complete: its end is missing")
        return self._found.head(self.content_type)

    def _begin(self) -> Steps[None]:
        head = yield from self._pieces.look(12)
        for content_type, (is_one, walk) in _FORMATS.items():
            if is_one(head):
                self.content_type = content_type
                yield from walk(self._pieces, self._found)
                return
        raise _unknown()


class _Found:
    """What a walk has found so far."""

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None
        self.exif = b""
        self.has_pixels = False

    def note_size(self, width: int, height: int) -> None:
        """The first that it names counts: of a WebP with several frames, that of all."""
        if self._size is None:
            check_size(width, height)
            self._size = (width, height)

    def check(self) -> None:
        """At its end: whether there was a picture."""
        if self._size is None or not self.has_pixels:
            raise _broken()

    def head(self, content_type: str) -> Head:
        """What it says in all."""
        assert self._size is not None  # noqa: S101 - `check` has looked
        orientation = orientation_of(self.exif)
        width, height = reversed(self._size) if orientation in _LYING else self._size
        return Head(content_type=content_type, width=width, height=height, orientation=orientation)


def _png(pieces: Pieces, found: _Found) -> Steps[None]:
    """PNG, third edition, 5: a signature and chunks, from IHDR to IEND."""
    yield from pieces.skip(8)
    for number in range(_MOST_PARTS):
        length, name = struct.unpack(">I4s", (yield from pieces.take(8)))
        if (name == b"IHDR") != (number == 0):
            raise _broken()
        if number == 0:
            found.note_size(*struct.unpack(">II", (yield from pieces.look(8))))
        elif name == b"eXIf" and length <= _MOST_EXIF_BYTES:
            found.exif = yield from pieces.look(length)
        found.has_pixels = found.has_pixels or name == b"IDAT"
        yield from pieces.skip(length + 4)
        if name == b"IEND":
            found.check()
            return
    raise _broken()


def _jpeg(pieces: Pieces, found: _Found) -> Steps[None]:
    """ITU-T T.81, annex B: segments, and behind the first scan's the data, to the end of the image."""
    yield from pieces.skip(2)
    for _ in range(_MOST_PARTS):
        mark, kind = yield from pieces.look(2)
        if mark != 0xFF or kind in (0x00, 0xD8, 0xD9):
            raise _broken()
        yield from pieces.skip(1 if kind == 0xFF else 2)  # There may be any number of the first, to fill up.
        if kind in (0xFF, 0x01) or 0xD0 <= kind <= 0xD7:  # The others have no bytes of their own.
            continue
        (length,) = struct.unpack(">H", (yield from pieces.take(2)))
        if length < 2:
            raise _broken()
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            _, height, width = struct.unpack(">BHH", (yield from pieces.look(5)))
            found.note_size(width, height)
        elif kind == 0xE1 and not found.exif:
            found.exif = _if_exif((yield from pieces.look(length - 2)))
        yield from pieces.skip(length - 2)
        if kind == 0xDA:
            found.has_pixels = True
            found.check()
            yield from pieces.skip_behind(b"\xff\xd9")
            return
    raise _broken()


def _webp(pieces: Pieces, found: _Found) -> Steps[None]:
    """RFC 9649, 2: a RIFF container, which says how long it is, and its chunks."""
    (_, left, _) = struct.unpack("<4sI4s", (yield from pieces.take(12)))
    left -= 4
    for _ in range(_MOST_PARTS):
        if left < 8:
            found.check()
            return
        name, length = struct.unpack("<4sI", (yield from pieces.take(8)))
        padded = length + length % 2
        left -= 8 + padded
        if left < 0:
            raise _broken()
        if name in _WEBP_SIZES:
            count, size_in = _WEBP_SIZES[name]
            found.note_size(*size_in((yield from pieces.look(min(count, length)))))
        elif name == b"EXIF" and length <= _MOST_EXIF_BYTES:
            found.exif = _if_exif((yield from pieces.look(length)))
        found.has_pixels = found.has_pixels or name in (b"VP8 ", b"VP8L", b"ANMF")
        yield from pieces.skip(padded)
    raise _broken()


def _size_of_all(chunk: bytes) -> tuple[int, int]:
    """Of `VP8X`: RFC 9649, 2.7."""
    if len(chunk) < 10:
        raise _broken()
    return int.from_bytes(chunk[4:7], "little") + 1, int.from_bytes(chunk[7:10], "little") + 1


def _size_of_lossy(chunk: bytes) -> tuple[int, int]:
    """Of `VP8 `: RFC 6386, 9.1. A file begins with a key frame."""
    if len(chunk) < 10 or chunk[0] & 1 or chunk[3:6] != b"\x9d\x01\x2a":
        raise _broken()
    width, height = struct.unpack("<HH", chunk[6:10])
    return width & 0x3FFF, height & 0x3FFF


def _size_of_lossless(chunk: bytes) -> tuple[int, int]:
    """Of `VP8L`: RFC 9649, 3.4."""
    if len(chunk) < 5 or chunk[0] != 0x2F:
        raise _broken()
    bits = int.from_bytes(chunk[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


_WEBP_SIZES: dict[bytes, tuple[int, Callable[[bytes], tuple[int, int]]]] = {
    b"VP8X": (10, _size_of_all),
    b"VP8 ": (10, _size_of_lossy),
    b"VP8L": (5, _size_of_lossless),
}
_FORMATS: dict[str, tuple[Callable[[bytes], bool], Callable[[Pieces, _Found], Steps[None]]]] = {
    "image/png": (lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"), _png),
    "image/jpeg": (lambda head: head.startswith(b"\xff\xd8\xff"), _jpeg),
    "image/webp": (lambda head: head[:4] == b"RIFF" and head[8:] == b"WEBP", _webp),
}


def _if_exif(data: bytes) -> bytes:
    """What a part of other uses has, if it is that: in a WebP without the name in front, too."""
    return data if data.startswith((b"Exif\0\0", b"II", b"MM")) else b""


def _broken() -> PictureRefused:
    return PictureRefused("the file is broken or not complete")


def _unknown() -> PictureRefused:
    return PictureRefused("this is no PNG, JPEG or WebP file")
