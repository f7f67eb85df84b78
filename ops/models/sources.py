"""What a person means by a source: a folder or a file here, or a model of the hub; and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from jobs.errors import InvalidRequest
from ops.models.components import Pipeline, needed_variant, pickled_component, read_pipeline
from ops.models.files import Files, FolderFiles
from ops.models.hub import HubFiles, is_hub_id
from ops.models.single_file import pipeline_of_file
from workers.loading.errors import Fault
from workers.loading.weights.files import file_fault
from workers.loading.weights.folder import INDEX, configuration_folder_fault, first_fault
from workers.loading.weights.header import read_header
from workers.loading.weights.hub import is_path

# Not every family loads it: whether it has to be whole is asked when the family is known.
_LEFT_OUT = ("safety_checker",)
_OWN_LABEL = "your own label of what is there: change it when that changes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """
    Where a model is.

    Attributes:
        called: A hub's id, or the name of a folder or a file.
        said: What `source` of its entry says.
        revision: Likewise; `note` says what it is.
        config: Likewise; None where the entry says none.
        read: What its files say. Raises `InvalidRequest` where no worker could load them, or `ValueError`.
    """

    called: str
    said: str
    revision: str
    note: str
    read: Callable[[], Pipeline]
    config: str | None = None


def find_source(said: str, catalogue: Path, revision: str | None, config: Path | None) -> Source:
    """
    What a person means by a source.

    Args:
        catalogue: The file that is to name it.
        revision: Of the hub, a branch, a tag or a commit; of what is here, a label.
        config: Of a file, the folder of a pipeline whose configuration it has; None for that which it looks like.

    Raises:
        InvalidRequest: There is nothing, or no model that can be served.
    """
    path, around = Path(said), catalogue.resolve().parent
    if path.is_file():
        return _file_source(path, around, revision, config)
    if config is not None:
        raise InvalidRequest("config", f"{said} is no file: leave it out")
    if path.is_dir():
        return _folder_source(path, around, revision)
    if is_path(said) or not is_hub_id(said):
        raise InvalidRequest("source", f"there is no folder {said}")
    return _hub_source(said, revision)


def _folder_source(folder: Path, around: Path, revision: str | None) -> Source:
    index = folder / INDEX
    return Source(
        called=folder.resolve().name,
        said=_relative(folder, around),
        revision=revision or _day_of(index if index.exists() else folder),
        note=_OWN_LABEL,
        read=partial(_read_folder, folder),
    )


def _read_folder(folder: Path) -> Pipeline:
    files = FolderFiles(folder)
    _refuse(first_fault(folder, _LEFT_OUT, needed_variant(files.names())))
    return read_pipeline(files, _LEFT_OUT)


def _file_source(file: Path, around: Path, revision: str | None, config: Path | None) -> Source:
    return Source(
        called=file.resolve().stem,
        said=_relative(file, around),
        revision=revision or _day_of(file),
        note=_OWN_LABEL,
        read=partial(_read_file, file, config),
        config=None if config is None else _relative(config, around),
    )


def _read_file(file: Path, config: Path | None) -> Pipeline:
    _refuse(file_fault(file))
    if config is not None:
        _refuse(configuration_folder_fault(config))
    pipeline = pipeline_of_file(read_header(file), config)
    if pipeline is None:
        raise InvalidRequest(
            "source",
            f"the tensors of {file} are like those of no model that is known here; say with --config which folder has "
            "the configuration of its pipeline",
        )
    return pipeline


def _hub_source(repository: str, revision: str | None) -> Source:
    """A model of the hub, at the commit that a branch, a tag or a commit is today."""
    files = HubFiles(repository, revision)
    if INDEX not in files.names():
        raise InvalidRequest("source", f"{repository} has no {INDEX}: it is no pipeline in the layout of diffusers")
    note = f"the commit that {revision or 'its main branch'} was on {datetime.now(UTC):%Y-%m-%d}"
    read = partial(_read_hub, files)
    return Source(called=repository, said=repository, revision=files.commit, note=note, read=read)


def _read_hub(files: Files) -> Pipeline:
    if pickled := pickled_component(files.names(), _LEFT_OUT):
        raise InvalidRequest("source", f'{pickled} has its weights in pickles alone: docs/models.md, "Pickles"')
    return read_pipeline(files, _LEFT_OUT)


def _refuse(fault: Fault | None) -> None:
    if fault is not None:
        raise InvalidRequest("source", f"{fault.found}; {fault.advice}")


def _relative(path: Path, around: Path) -> str:
    """To the folder of the catalogue, where it lies in there."""
    place = path.resolve()
    return str(place.relative_to(around) if place.is_relative_to(around) else place)


def _day_of(path: Path) -> str:
    """On which it was written."""
    return f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%d}"
