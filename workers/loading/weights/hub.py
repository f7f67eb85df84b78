"""
Models of a hub: which revisions of them are run.

A commit names the same files for ever. A branch or a tag is whatever somebody pushed last: two workers that start on
two days would make different pictures under one name, share passes, and write the same revision into their files.
"""

from __future__ import annotations

import re
from pathlib import Path

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from workers.loading.errors import Fault
from workers.loading.weights.files import PICKLE_SUFFIXES

IN_STORE = "s3://"  # before the bucket and the key of a source in a store

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ANSWER_S = 10.0
_OF_FILES = (*PICKLE_SUFFIXES, ".safetensors", ".gguf")


def is_from_hub(catalogue: Catalogue, model: Model) -> bool:
    """Whether a model's source is neither a folder here nor a simulation."""
    return model.family != "simulated" and catalogue.source_of(model) == model.source and not is_path(model.source)


def is_path(source: str) -> bool:
    """Whether a source can be nothing but a folder or a file, wherever it lies."""
    return Path(source).is_absolute() or source.startswith((".", IN_STORE)) or is_file_name(source)


def is_file_name(source: str) -> bool:
    """Whether a source is named as a file of weights is."""
    return source.lower().endswith(_OF_FILES)


def is_commit(revision: str) -> bool:
    """Whether a revision is a whole commit hash, as hubs have them."""
    return _COMMIT.fullmatch(revision) is not None


def revision_fault(model: Model, *, asks: bool = True) -> Fault | None:
    """
    What is wrong with the revision of a model of the hub; None where it is a commit.

    Args:
        asks: Ask the hub which commit it is today, so that the advice is a line to copy.
    """
    return commit_fault(model.source, model.revision, f'revision = "{{}}" of [models.{model.name}]', asks=asks)


def commit_fault(repository: str, revision: str, line: str, *, asks: bool) -> Fault | None:
    """
    Likewise, of any repository.

    Args:
        line: Of the catalogue, that has the revision in the place of `{}`.
    """
    if is_commit(revision):
        return None
    commit = _commit_of(repository, revision or None) if asks else None
    right = f"set {line.format(commit or '<commit>')} in models.toml"
    advice = f"{right}, the commit that it is today" if commit else f"{right}; docs/models.md says how to find it"
    found = f"there is no folder {repository}, and of a hub's model revision {revision!r} is no commit"
    return Fault(found=f"{found}: what it names may change", advice=advice)


def _commit_of(repository: str, revision: str | None) -> str | None:
    """The commit that a branch or tag is today; None where no hub says so."""
    from huggingface_hub import HfApi  # Late: the doctor asks no hub.
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # of the HTTP library that this version has
        HFValidationError,
        HTTPError,
    )

    try:
        return HfApi().model_info(repository, revision=revision, timeout=_ANSWER_S).sha
    except (HTTPError, HFValidationError, OSError):  # OSError: offline mode among others
        return None
