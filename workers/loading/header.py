"""The header of a safetensors file: which tensors it has. The weights themselves are not read (safetensors' README)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

_LENGTH_BYTES = 8  # of the number in front of the header
_METADATA = "__metadata__"

# Of one number, by the names that the format has.
_BYTES = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
}


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """
    One tensor as the header has it.

    Attributes:
        dtype: In the format's words: "F32", "BF16", "F8_E4M3".
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """How many it has."""
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """In a file."""
        return self.numbers * _BYTES.get(self.dtype, 1)


def read_header(file: Path) -> dict[str, TensorHeader]:
    """
    The tensors of a file by name.

    Raises:
        ValueError: It is no safetensors file.
        OSError: It cannot be read.
    """
    try:
        return {
            name: TensorHeader(str(each["dtype"]), tuple(map(int, each["shape"])))
            for name, each in _parse(file).items()
            if name != _METADATA
        }
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"{file} is no safetensors file: its header cannot be read") from exc


def tensor_names(file: Path) -> set[str]:
    """Of all tensors of a file. Raises as `read_header` does."""
    return {*_parse(file)} - {_METADATA}


def _parse(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
        if not 0 < length <= file.stat().st_size - _LENGTH_BYTES:
            raise ValueError(f"{file} is cut short, or no safetensors file")
        header: dict[str, Any] = json.loads(opened.read(length))
    return header
