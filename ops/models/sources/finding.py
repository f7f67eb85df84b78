"""What a person means by a source: a folder or a file here, or a model of the hub; and how it is read."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from jobs.errors import InvalidRequest
from ops.models.components import Pipeline, needed_variant, pickled_component, read_pipeline
from ops.models.files import Files, FolderFiles
from ops.models.sources.hub import HubFiles, is_hub_id
from ops.models.sources.one_file import file_source
from ops.models.sources.source import LEFT_OUT, OWN_LABEL, Source, day_of, note_of_commit, refuse, relative
from ops.models.sources.stored import mirrored
from storage.errors import StorageError
from workers.loading.weights.folder import INDEX, first_fault
from workers.loading.weights.hub import IN_STORE, is_path


def find_source(said: str, catalogue: Path, revision: str | None, config: str | None) -> Source:
    """
    What a person means by a source.

    Args:
        said: A folder, a file, a hub's id, or `s3://bucket/key` of a folder or a file in the store.
        catalogue: The file that is to name it.
        revision: Of the hub, a branch, a tag or a commit; of what is here, a label.
        config: Of a file, the pipeline whose configuration it has: a folder, or `id` or `id@revision` of the hub; None
            for that which it looks like.

    Raises:
        InvalidRequest: There is nothing, or no model that can be served.
    """
    path, around = Path(said), catalogue.resolve().parent
    if said.startswith(IN_STORE):
        return _stored_source(said.rstrip("/"), around, revision, config)
    if path.is_file():
        return file_source(path, around, revision, config)
    if config is not None:
        raise InvalidRequest("config", f"{said} is no file: leave it out")
    if path.is_dir():
        return _folder_source(path, around, revision)
    if is_path(said) or not is_hub_id(said):
        raise InvalidRequest("source", f"there is no folder {said}")
    return _hub_source(said, revision)


def _stored_source(said: str, around: Path, revision: str | None, config: str | None) -> Source:
    """Of a store: read now, as if what is there were here."""
    try:
        with mirrored([said]) as copies:
            copy = copies[said]
            try:
                is_file = copy.is_file()
                source = (
                    file_source(copy, around, revision, config) if is_file else _folder_source(copy, around, revision)
                )
                pipeline = source.read()
            except ValueError as exc:
                raise InvalidRequest("source", str(exc).replace(str(copy), said)) from exc
            except InvalidRequest as exc:
                raise InvalidRequest(exc.field, exc.reason.replace(str(copy), said)) from exc
    except StorageError as exc:
        raise InvalidRequest("source", f"{exc}; the store and its keys are those of the settings") from exc
    lines = json.loads(json.dumps(source.lines).replace(json.dumps(str(copy)), json.dumps(said)))
    return replace(source, called=PurePosixPath(said).stem if is_file else said, lines=lines, read=lambda: pipeline)


def _folder_source(folder: Path, around: Path, revision: str | None) -> Source:
    index = folder / INDEX
    label = revision or day_of(index if index.exists() else folder)
    return Source(
        called=folder.resolve().name,
        lines={"source": relative(folder, around), "revision": label},
        read=partial(_read_folder, folder),
        notes={"revision": OWN_LABEL},
    )


def _read_folder(folder: Path) -> Pipeline:
    files = FolderFiles(folder)
    refuse(first_fault(folder, LEFT_OUT, needed_variant(files.names())))
    return read_pipeline(files, LEFT_OUT)


def _hub_source(repository: str, revision: str | None) -> Source:
    """A model of the hub, at the commit that a branch, a tag or a commit is today."""
    files = HubFiles(repository, revision)
    if INDEX not in files.names():
        raise InvalidRequest("source", f"{repository} has no {INDEX}: it is no pipeline in the layout of diffusers")
    return Source(
        called=repository,
        lines={"source": repository, "revision": files.commit},
        read=partial(_read_hub, files),
        notes={"revision": note_of_commit(revision)},
    )


def _read_hub(files: Files) -> Pipeline:
    if pickled := pickled_component(files.names(), LEFT_OUT):
        raise InvalidRequest("source", f'{pickled} has its weights in pickles alone: docs/models.md, "Pickles"')
    return read_pipeline(files, LEFT_OUT)
