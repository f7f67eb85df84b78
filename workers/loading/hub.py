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
from workers.loading.files import Fault

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ANSWER_S = 10.0


def is_from_hub(catalogue: Catalogue, model: Model) -> bool:
    """Whether a model's source is neither a folder here nor a simulation."""
    return model.family != "simulated" and catalogue.source_of(model) == model.source and not is_path(model.source)


def is_path(source: str) -> bool:
    """Whether a source can be nothing but a folder, wherever it lies."""
    return Path(source).is_absolute() or source.startswith(".")


def is_commit(revision: str) -> bool:
    """Whether a revision is a whole commit hash, as hubs have them."""
    return _COMMIT.fullmatch(revision) is not None


def revision_fault(model: Model, *, asks: bool = True) -> Fault | None:
    """
    What is wrong with the revision of a model of the hub; None where it is a commit.

    Args:
        asks: Ask the hub which commit it is today, so that the advice is a line to copy.
    """
    if is_commit(model.revision):
        return None
    commit = _commit_of(model) if asks else None
    line = f'set revision = "{commit or "<commit>"}" of [models.{model.name}] in models.toml'
    advice = f"{line}, the commit that it is today" if commit else f"{line}; docs/models.md says how to find it"
    found = f"there is no folder {model.source}, and of a hub's model revision {model.revision!r} is no commit"
    return Fault(found=f"{found}: what it names may change", advice=advice)


def _commit_of(model: Model) -> str | None:
    """The commit that a branch or tag is today; None where no hub says so."""
    from huggingface_hub import HfApi  # Late: the doctor asks no hub.
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # of the HTTP library that this version has
        HFValidationError,
        HTTPError,
    )

    try:
        return HfApi().model_info(model.source, revision=model.revision, timeout=_ANSWER_S).sha
    except (HTTPError, HFValidationError, OSError):  # OSError: offline mode among others
        return None
