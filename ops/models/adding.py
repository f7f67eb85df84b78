"""The entry of a source, held against what a worker would say of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.catalogue.faults import describe
from jobs.errors import InvalidRequest
from jobs.fields import Name
from ops.models.proposal import propose
from ops.models.sources.source import Source, refuse
from ops.models.sources.stored import mirrored
from ops.models.text import entry_text
from workers.loading.weights.sources import source_fault
from workers.loading.weights.stored import stored_sources

_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A new entry: the model, and its lines."""

    model: Model
    lines: dict[str, Any]
    text: str


def make_entry(source: Source, catalogue: Path, name: str | None) -> Entry:
    """
    The entry of a model.

    Args:
        catalogue: The file that is to have it.
        name: Of the model; None for one that its source is called like.

    Raises:
        InvalidRequest: It is no model that can be served, or the name is none.
    """
    try:
        proposal = propose(source.read(), source.called)
    except ValueError as exc:
        raise InvalidRequest("source", str(exc)) from exc
    named = _name_of(source.called) if name is None else name
    lines = source.lines | proposal.entry
    model = _validated(named, lines)
    with mirrored(stored_sources(model)) as copies:
        alone = Catalogue([model], catalogue.resolve().parent)
        for each, copy in copies.items():
            alone.take_copy(each, copy)
        refuse(source_fault(alone, model, asks=False))
    text = entry_text(named, lines, proposal.about, proposal.notes | source.notes)
    return Entry(model=model, lines=lines, text=text)


def _name_of(called: str) -> str:
    """A model's name, of what its source is called: "SDXL base" becomes sdxl-base."""
    last = called.rstrip("/").rpartition("/")[2].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", last).strip("._-")[:_LONGEST_NAME] or "model"


def _validated(name: str, lines: dict[str, Any]) -> Model:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as exc:
        raise InvalidRequest(
            "name", f"{name!r} is no name: letters, digits, dots, - and _, up to {_LONGEST_NAME}"
        ) from exc
    try:
        return Model(name=name, **lines)
    except ValidationError as exc:
        raise InvalidRequest("source", f"no entry can be made of it: {describe(exc, name)}") from exc
