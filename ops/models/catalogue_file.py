"""Writes an entry at the end of a catalogue file: what stands there stays as it is, comments, too."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration, InvalidRequest


def with_entry(path: Path, name: str, entry: str) -> str:
    """
    The text of a catalogue file with one more entry; of a file that is not there, the entry alone.

    Raises:
        InvalidRequest: It has a model of this name.
        InvalidConfiguration: The file is wrong, or would be.
    """
    text = ""
    if path.exists():
        text = _text_of(path)
        if name in Catalogue.parse(text, path).models:
            raise InvalidRequest("name", f"{path} has a model {name!r}; give this one another with --name")
        text += "\n" if text.endswith("\n") else "\n\n"
    text += entry
    Catalogue.parse(text, path)
    return text


def write(path: Path, text: str) -> None:
    """
    Put a text in the place of a file, whole or not at all; its rights stay.

    Raises:
        InvalidConfiguration: It cannot be written.
    """
    path = path.resolve()  # A link stays one.
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", dir=path.parent, delete=False) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).chmod(mode)
        Path(file.name).replace(path)
    except OSError as exc:
        raise InvalidConfiguration(f"model catalogue {path} cannot be written: {exc.strerror or exc}") from exc


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")  # Not as text: ends of lines stay what they are.
    except (OSError, ValueError) as exc:
        raise InvalidConfiguration(f"model catalogue {path}: {exc}") from exc
