"""
Unpacks the bodies of messages, up to a size: a megabyte of a message may say a gigabyte, and nobody has that to spare.

Of the ways of packing that kombu has these are the ones that Python itself can undo piece by piece.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Final, Protocol

# Of a message, and of what it unpacks to: twice what HTTP takes of a job, for it is in base64 and may carry a canvas.
MOST_BYTES: Final = 4 << 20
_LZMA_BYTES = 96 << 20  # that unpacking may need; its best level needs 65 MiB


class NotUnpacked(Exception):
    """
    A body that is left as it is.

    Attributes:
        field: What of its message is wrong; the text says how.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class _Decompressor(Protocol):
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...

    @property
    def eof(self) -> bool: ...


def _zlib() -> _Decompressor:
    return zlib.decompressobj()


def _lzma() -> _Decompressor:
    return lzma.LZMADecompressor(memlimit=_LZMA_BYTES)


_WAYS: dict[str, Callable[[], _Decompressor]] = {  # by kombu's names of them
    **dict.fromkeys(("application/x-gzip", "gzip", "zlib"), _zlib),
    **dict.fromkeys(("application/x-bz2", "bzip2", "bzip"), bz2.BZ2Decompressor),
    **dict.fromkeys(("application/x-lzma", "lzma", "xz"), _lzma),
}


def unpacked(body: bytes, way: str) -> bytes:
    """
    What a body says that was packed in some way.

    Raises:
        NotUnpacked: It says too much, or in a way that cannot be bounded.
        Exception: It is damaged; of whatever kind its library has for that.
    """
    if way not in _WAYS:
        raise NotUnpacked("compression", f"is {way!r}; only gzip, bzip2 and lzma are supported")
    decompressor = _WAYS[way]()
    found = decompressor.decompress(body, MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise NotUnpacked("body", f"unpacks to more than {MOST_BYTES >> 20} MiB")
    if not decompressor.eof:
        raise NotUnpacked("body", "is incomplete")
    return found
