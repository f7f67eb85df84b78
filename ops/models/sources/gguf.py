"""The tensors of a GGUF file, as its header has them (ggml, docs/gguf.md, version 3). The weights are not read."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from workers.loading.weights.header import TensorHeader

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
# Bytes of a value, by the number of its type; what is not here is a text (8) or a list (9).
_BYTES_OF_TYPE = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_TEXT, _LIST = 8, 9
_DTYPES = {0: "F32", 1: "F16", 30: "BF16"}  # the others are quantized
_MOST = 1 << 24  # tensors, or bytes of a text: more is no file that anybody made


def read_gguf_header(file: Path) -> dict[str, TensorHeader]:
    """
    The tensors of a file by name, with their shapes as torch has them.

    Raises:
        ValueError: It is no GGUF file, or is cut short.
        OSError: It cannot be read.
    """
    with file.open("rb") as opened:
        magic, version = opened.read(4), opened.read(4)
        if magic != _MAGIC or int.from_bytes(version, "little") not in _VERSIONS:
            raise ValueError(f"{file} is no GGUF file of version 2 or 3")
        try:
            tensors, values = _count(opened), _count(opened)
            for _ in range(values):
                _text(opened)
                _skip(opened, _number(opened, 4))
            return dict(_tensor(opened) for _ in range(tensors))
        except (struct.error, UnicodeDecodeError, KeyError) as exc:
            raise ValueError(f"{file} is cut short, or no GGUF file") from exc


def _tensor(opened: BinaryIO) -> tuple[str, TensorHeader]:
    name = _text(opened)
    sides = [_number(opened, 8) for _ in range(_number(opened, 4))]
    kind = _number(opened, 4)
    _number(opened, 8)  # where its weights are
    return name, TensorHeader(_DTYPES.get(kind, f"GGML {kind}"), tuple(reversed(sides)))


def _skip(opened: BinaryIO, kind: int) -> None:
    """Pass over a value."""
    if kind == _TEXT:
        _text(opened)
    elif kind == _LIST:
        inner, length = _number(opened, 4), _count(opened)
        if inner in _BYTES_OF_TYPE:
            opened.seek(_BYTES_OF_TYPE[inner] * length, 1)
        else:
            for _ in range(length):
                _skip(opened, inner)
    else:
        opened.seek(_BYTES_OF_TYPE[kind], 1)


def _text(opened: BinaryIO) -> str:
    return _bytes(opened, _count(opened)).decode()


def _count(opened: BinaryIO) -> int:
    count = _number(opened, 8)
    if count > _MOST:
        raise struct.error("more than there can be")
    return count


def _number(opened: BinaryIO, size: int) -> int:
    return int.from_bytes(_bytes(opened, size), "little")


def _bytes(opened: BinaryIO, size: int) -> bytes:
    read = opened.read(size)
    if len(read) != size:
        raise struct.error("cut short")
    return read
