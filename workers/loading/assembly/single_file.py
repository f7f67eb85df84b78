"""
Loads a pipeline whose weights are in one file, as its trainers publish it, under the names that they gave its tensors.

diffusers converts those names; what the file has not, configurations and vocabularies, comes from elsewhere:
`workers.loading.weights.configuration`.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
from diffusers import DiffusionPipeline
from diffusers.loaders.single_file_utils import SingleFileComponentError

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from workers.families.family import Family
from workers.loading.assembly.components import load_components
from workers.loading.assembly.library_errors import library_errors
from workers.loading.checks.missing import naming_missing_tensors
from workers.loading.checks.outputs import check_output
from workers.loading.errors import NotLoaded
from workers.loading.weights.configuration import configuration_of
from workers.loading.weights.folder import INDEX

_COMPONENT = re.compile(r"^(\w+) = \w+\.from_pretrained", re.MULTILINE)  # as diffusers advises to load it


def is_one_file(catalogue: Catalogue, entry: Model) -> bool:
    """Whether a model's source is a file."""
    return Path(catalogue.source_of(entry)).is_file()


def loader_of_file(catalogue: Catalogue, entry: Model, family: Family) -> Callable[..., Any]:
    """
    What loads the pipeline of a file.

    Raises:
        NotLoaded: Pipelines of this family do not load so, or the file is none of them.
    """
    file = catalogue.source_of(entry)
    with library_errors():
        configuration = configuration_of(catalogue, entry)
        index = json.loads((configuration / INDEX).read_bytes())
    kind = _pipeline_of(index, entry, family)
    _check_likeness(kind, index, entry, family)

    def load(**options: Any) -> Any:
        own = {"config": str(configuration), "local_files_only": True}
        options |= load_components(catalogue, entry, index, own)
        try:
            # With a folder for a configuration, nothing is asked of the hub.
            with naming_missing_tensors():
                return kind.from_single_file(file, **own, **options)
        except SingleFileComponentError as exc:
            raise NotLoaded(_lacking(str(exc), entry)) from exc

    return load


def _pipeline_of(index: Mapping[str, Any], entry: Model, family: Family) -> Any:
    """The class of diffusers that loads it."""
    kind = family.pipeline
    if kind is DiffusionPipeline:
        check_output(index, entry)
        kind = getattr(diffusers, str(index.get("_class_name")), None)
    if not hasattr(kind, "from_single_file"):
        name = kind.__name__ if kind else index.get("_class_name")
        raise NotLoaded(
            f"{name} does not load from one file: name the folder or the hub id of such a pipeline as source of "
            f"[models.{entry.name}] in models.toml, and the file as source of its components.transformer"
        )
    return kind


def _check_likeness(kind: Any, index: Mapping[str, Any], entry: Model, family: Family) -> None:
    """Whether the components of a configuration are those of the class, which would pass over others."""
    there = {name for name, each in index.items() if isinstance(each, list) and each[0] and not name.startswith("_")}
    if not there <= set(inspect.signature(kind.__init__).parameters) or not there >= set(family.parts):
        raise NotLoaded(
            f"its configuration is one of {index.get('_class_name')}, and family {entry.family} loads {kind.__name__}; "
            f"correct family or config of [models.{entry.name}] in models.toml"
        )


def _lacking(reason: str, entry: Model) -> str:
    found = _COMPONENT.search(reason)
    name = found[1] if found else "a component"
    return (
        f"the file has no {name}: name one as source of [models.{entry.name}.components.{name}] in models.toml, or get "
        "the file that has all of the model"
    )
