"""On which line of `models.toml` each key stands: what reads the file does not say it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

KeyPath = tuple[str, ...]


class Lines:
    """Of one file, which is valid TOML."""

    def __init__(self, text: str) -> None:
        self._numbers: dict[KeyPath, int] = {}
        table: KeyPath = ()
        for number, line in enumerate(text.split("\n"), 1):
            content = _read(line.strip())
            if line.lstrip().startswith("["):
                table = max(_paths(content), key=len, default=table)
                paths: Iterator[KeyPath] = (table[:depth] for depth in range(1, len(table) + 1))
            else:
                paths = ((*table, *path) for path in _paths(content))
            for path in paths:
                self._numbers.setdefault(path, number)

    def of(self, path: Sequence[str]) -> int | None:
        """Of a key, or of the nearest table around it that stands there; None where nothing of it does."""
        depths = range(len(path), 0, -1)
        return next((self._numbers[key] for depth in depths if (key := tuple(path[:depth])) in self._numbers), None)


def _read(line: str) -> Mapping[str, Any]:
    """One line, as a file of its own; of a value that goes on below, its key. Empty for what is neither."""
    for text in (line, f"{line.partition('=')[0]}= 0"):
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            continue
    return {}


def _paths(content: Mapping[str, Any]) -> Iterator[KeyPath]:
    for key, value in content.items():
        yield (key,)
        if isinstance(value, Mapping):
            yield from ((key, *path) for path in _paths(value))
