"""
What another version wrote, read as far as this one knows it.

Readers alone are so tolerant. What a caller sends is refused by the first field that is wrong, and a worker runs only
what it understands whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Words = TypeVar("Words", bound=StrEnum)
Model = TypeVar("Model", bound=BaseModel)


def word(kind: type[Words], text: str) -> Words | str:
    """The member that a text names; the text itself where it is none that this version knows."""
    try:
        return kind(text)
    except ValueError:
        return text


def read_known(kind: type[Model], fields: Mapping[str, Any]) -> tuple[Model | None, frozenset[str]]:
    """
    What is understood of an object.

    Returns:
        The object, without what is not understood; None where too little is left of it. And the names of the fields
        that were left aside, wholly or in part.
    """
    aside = set(fields) - set(kind.model_fields)
    left = {name: deepcopy(value) for name, value in fields.items() if name not in aside}
    while True:
        try:
            return kind.model_validate(left), frozenset(aside)
        except ValidationError as exc:
            path = exc.errors(include_url=False)[0]["loc"]
            if not _drop(left, path):
                return None, frozenset(aside)
            aside.add(str(path[0]))


def _drop(fields: dict[str, Any], path: tuple[int | str, ...]) -> bool:
    """Take the innermost thing away that a path leads to: a field, or what lacks one. Whether there was any."""
    within: Any = fields
    found: tuple[Any, int | str] | None = None
    for step in path:
        if not (isinstance(within, dict) and step in within):
            break
        found, within = (within, step), within[step]
    if found is None:
        return False
    del found[0][found[1]]
    return True
