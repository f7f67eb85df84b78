"""The files of a model, wherever they lie: what they are called, their JSON, and the headers of their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from workers.loading.weights.header import TensorHeader, read_header


class Files(Protocol):
    """Of one model. Names are paths inside of it, with slashes."""

    def names(self) -> list[str]:
        """All of them, sorted."""
        ...

    def read_json(self, name: str) -> dict[str, Any]:
        """
        The object in a file.

        Raises:
            ValueError: It holds none.
        """
        ...

    def read_header(self, name: str) -> dict[str, TensorHeader]:
        """
        Tensors of a file of weights.

        Raises:
            ValueError: It is no safetensors file.
        """
        ...


class FolderFiles:
    """Those of a folder here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        files = (path for path in self._folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(self._folder).as_posix() for path in files)

    def read_json(self, name: str) -> dict[str, Any]:
        return object_of(self._folder / name)

    def read_header(self, name: str) -> dict[str, TensorHeader]:
        return read_header(self._folder / name)


class WithoutWeights:
    """Configurations and vocabularies of another's, as if its weights were not there."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def names(self) -> list[str]:
        return [name for name in self._files.names() if ".safetensors" not in name]

    def read_json(self, name: str) -> dict[str, Any]:
        return self._files.read_json(name)

    def read_header(self, name: str) -> dict[str, TensorHeader]:
        return self._files.read_header(name)


def object_of(file: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises `ValueError` where it holds none."""
    content = json.loads(file.read_bytes())
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no JSON object")
    return content
