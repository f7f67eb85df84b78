"""`./imagemill models add`: from a source to an entry of the catalogue."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from jobs.catalogue.entry import Model
from jobs.errors import InvalidRequest
from jobs.fields import Name
from ops.models.components import needed_variant, read_pipeline
from ops.models.files import Files, FolderFiles
from ops.models.proposal import Proposal, propose
from ops.models.text import entry_text
from workers.loading.folder import INDEX, first_fault, not_loaded

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")  # as huggingface_hub's validate_repo_id has it, by and large
_LONGEST_NAME = 64
# Not every family loads it: whether it has to be whole is asked when the family is known.
_LEFT_OUT = ("safety_checker",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """
    Where a model is.

    Attributes:
        folder: None of what lies on a hub.
        called: A hub's id, or a folder's name.
        said: What `source` of its entry says.
        revision: Likewise; `note` says what it is.
    """

    files: Files
    folder: Path | None
    called: str
    said: str
    revision: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A new entry: the model, and its lines."""

    model: Model
    lines: dict[str, Any]
    text: str


def make_entry(source: Source, name: str | None) -> Entry:
    """
    The entry of a model.

    Args:
        name: Of the model; None for one that its source is called like.

    Raises:
        InvalidRequest: It is no model that can be served, or the name is none.
    """
    _refuse_broken(source, _LEFT_OUT, needed_variant(source.files.names()))
    try:
        proposal = propose(read_pipeline(source.files, _LEFT_OUT), source.called)
    except ValueError as exc:
        raise InvalidRequest("source", str(exc)) from exc
    named = _name_of(source.called) if name is None else name
    lines = {"source": source.said, "revision": source.revision, **proposal.entry}
    model = _validated(named, lines)
    _refuse_broken(source, not_loaded(model), model.variant)
    return Entry(model=model, lines=lines, text=_text(named, lines, proposal, source.note))


def _refuse_broken(source: Source, leave_out: Collection[str], variant: str | None) -> None:
    if source.folder is not None and (fault := first_fault(source.folder, leave_out, variant)):
        raise InvalidRequest("source", f"{fault.found}; {fault.advice}")


def folder_source(folder: Path, catalogue: Path, revision: str | None) -> Source:
    """
    A folder here.

    Args:
        catalogue: The file that names it.
        revision: Label of what is in it; None for the day on which its index was written.
    """
    place, around = folder.resolve(), catalogue.resolve().parent
    index = folder / INDEX
    written = datetime.fromtimestamp((index if index.exists() else folder).stat().st_mtime, UTC)
    return Source(
        files=FolderFiles(folder),
        folder=folder,
        called=place.name,
        said=str(place.relative_to(around) if place.is_relative_to(around) else place),
        revision=revision or f"{written:%Y-%m-%d}",
        note="your own label of what is in the folder: change it when that changes",
    )


def find_source(said: str, catalogue: Path, revision: str | None) -> Source:
    """
    What a person means by a source.

    Raises:
        InvalidRequest: There is nothing, or no model that can be served.
    """
    path = Path(said)
    if path.is_dir():
        return folder_source(path, catalogue, revision)
    if path.is_file():
        raise InvalidRequest("source", f'{said} is a file: docs/models.md, "A single file", says how to serve it')
    raise InvalidRequest("source", f"there is no folder {said}")


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
    except ValueError as exc:
        raise InvalidRequest("source", f"no entry can be made of it: {exc}") from exc


def _text(name: str, lines: dict[str, Any], proposal: Proposal, note: str) -> str:
    return entry_text(name, lines, proposal.about, proposal.notes | {"revision": note})
