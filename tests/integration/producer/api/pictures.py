"""Files as callers send them: with a head and an end as a picture has them, and as many bytes as a test wants."""

from __future__ import annotations

import os
import struct
import zlib


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(size_bytes: int = 1_000, width: int = 640, height: int = 480) -> bytes:
    """A PNG of so many bytes, unlike any other; nobody decodes it here."""
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    end = chunk(b"IEND")
    return head + chunk(b"IDAT", os.urandom(size_bytes - len(head) - len(end) - 12)) + end
