"""An entry as lines of TOML, with its comments."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")  # TOML 1.0, "Keys"


def entry_text(name: str, entry: Mapping[str, Any], about: Sequence[str], notes: Mapping[str, str]) -> str:
    """
    The lines of an entry of `models.toml`.

    Args:
        about: Comments before it.
        notes: Comments behind single lines, by their names.
    """
    comments = [f"# {each}" for each in about]
    lines = [f"{key} = {_value(value)}" + (f"  # {notes[key]}" if key in notes else "") for key, value in entry.items()]
    return "\n".join([*comments, f"[models.{_key(name)}]", *lines]) + "\n"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
