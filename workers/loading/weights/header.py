"""The header of a safetensors file: which tensors it has. The weights themselves are not read (safetensors' README)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

_LENGTH_BYTES = 8  # of the number in front of the header


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


def read_header(file: Path) -> dict[str, TensorHeader]:
    """
    The tensors of a file by name.

    Raises:
        ValueError: It is no safetensors file.
        OSError: It cannot be read.
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
        if not 0 < length <= file.stat().st_size - _LENGTH_BYTES:
            raise ValueError(f"{file} is cut short, or no safetensors file")
        header: dict[str, Any] = json.loads(opened.read(length))
    try:
        return {
            name: TensorHeader(str(each["dtype"]), tuple(map(int, each["shape"])))
            for name, each in header.items()
            if name != "__metadata__"
        }
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"{file} is no safetensors file: its header cannot be read") from exc
