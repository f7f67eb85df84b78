"""The pipeline that a model of one file is one of: a folder, or a model of the hub at a commit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jobs.errors import InvalidRequest
from ops.models.files import Files, FolderFiles
from ops.models.sources.hub import HubFiles, is_hub_id
from ops.models.sources.source import OWN_LABEL, day_of, note_of_commit, refuse, relative
from workers.loading.weights.folder import INDEX, configuration_folder_fault
from workers.loading.weights.hub import is_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """
    A pipeline.

    Attributes:
        said: What an entry says of it: a folder, relative to the catalogue, or a hub's id.
        revision: Its commit, or a label of the folder; `note` says what it is.
    """

    said: str
    revision: str
    note: str
    files: Files
    is_of_hub: bool

    @property
    def config(self) -> str:
        """As `config` of an entry says it."""
        return f"{self.said}@{self.revision}" if self.is_of_hub else self.said

    def component(self, name: str) -> dict[str, str]:
        """The lines of an entry for its own component of a name."""
        at = {"revision": self.revision, "subfolder": name} if self.is_of_hub else {}
        return {"source": self.said, **at}


def base_said(config: str, around: Path) -> Base:
    """
    The pipeline that a person says.

    Args:
        config: A folder, or `id` or `id@revision` of the hub.
        around: The folder of the catalogue.

    Raises:
        InvalidRequest: There is no such pipeline.
    """
    folder = Path(config)
    if folder.is_dir():
        refuse(configuration_folder_fault(folder))
        said, label = relative(folder, around), day_of(folder / INDEX)
        return Base(said=said, revision=label, note=OWN_LABEL, files=FolderFiles(folder), is_of_hub=False)
    repository, _, revision = config.partition("@")
    if is_path(repository) or not is_hub_id(repository):
        raise InvalidRequest("config", f"there is no folder {config}")
    return _of_hub(repository, revision or None, "config")


def base_like(repository: str) -> Base:
    """The pipeline of the hub that a file is like. Raises `InvalidRequest` where no hub has it."""
    return _of_hub(repository, None, "source")


def _of_hub(repository: str, revision: str | None, field: str) -> Base:
    files = HubFiles(repository, revision)
    if INDEX not in files.names():
        raise InvalidRequest(field, f"{repository} has no {INDEX}: it is no pipeline in the layout of diffusers")
    note = note_of_commit(revision)
    return Base(said=repository, revision=files.commit, note=note, files=files, is_of_hub=True)
