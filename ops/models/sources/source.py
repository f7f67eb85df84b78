"""Where a model is: what its entry says of that, and how its files are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.errors import InvalidRequest
from ops.models.components import Pipeline
from workers.loading.errors import Fault

# Not every family loads it: whether it has to be whole is asked when the family is known.
LEFT_OUT = ("safety_checker",)
OWN_LABEL = "your own label of what is there: change it when that changes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """
    Where a model is.

    Attributes:
        called: A hub's id, or the name of a folder or a file.
        lines: Of its entry: `source`, `revision`, and where they are needed `config` and `components`.
        read: What its files say. Raises `InvalidRequest` where no worker could load them, or `ValueError`.
        notes: Comments of single lines, by their names.
    """

    called: str
    lines: dict[str, Any]
    read: Callable[[], Pipeline]
    notes: dict[str, str] = field(default_factory=dict)


def refuse(fault: Fault | None) -> None:
    """Raise `InvalidRequest` where something is wrong with a source."""
    if fault is not None:
        raise InvalidRequest("source", f"{fault.found}; {fault.advice}")


def relative(path: Path, around: Path) -> str:
    """A path relative to the folder of the catalogue, where it lies in there."""
    place = path.resolve()
    return str(place.relative_to(around) if place.is_relative_to(around) else place)


def day_of(path: Path) -> str:
    """On which it was written."""
    return f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%d}"


def note_of_commit(revision: str | None) -> str:
    """What the commit is that a model of the hub was pinned to."""
    return f"the commit that {revision or 'its main branch'} was on {datetime.now(UTC):%Y-%m-%d}"
