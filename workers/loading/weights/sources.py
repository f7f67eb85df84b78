"""Where the weights of an entry come from, and whether they are there, as far as that shows before they are loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.catalogue.loading import GGUF_SUFFIX
from workers.loading.errors import Fault
from workers.loading.weights.component_sources import component_fault
from workers.loading.weights.configuration import configuration_fault
from workers.loading.weights.files import file_fault
from workers.loading.weights.folder import first_fault, not_loaded
from workers.loading.weights.hub import is_file_name, is_path, revision_fault
from workers.loading.weights.offline import missing_files
from workers.loading.weights.packages import package_fault
from workers.loading.weights.stored import stored_fault


def source_fault(catalogue: Catalogue, model: Model, *, asks: bool = True) -> Fault | None:
    """
    The first thing that keeps a model from being loaded; None where none shows.

    Args:
        asks: Ask the hub which commit a branch or a tag is today, for the advice.
    """
    if fault := stored_fault(catalogue, model):
        return fault
    place = Path(catalogue.source_of(model))
    is_of_hub = not place.exists() and not is_path(model.source)
    if model.config is not None and (place.is_dir() or is_of_hub):
        return Fault(found="config is set, and source is no file", advice=f"leave config out of [models.{model.name}]")
    if place.is_dir():
        fault = first_fault(place, not_loaded(model) | model.components.keys(), model.variant)
    elif is_of_hub:
        leave_out = not_loaded(model) | model.components.keys()
        fault = revision_fault(model, asks=asks)
        fault = fault or missing_files(model.source, model.revision, leave_out, model.variant)
    else:
        fault = _file_fault(place, model) or configuration_fault(catalogue, model, asks=asks)
    fault = fault or component_fault(catalogue, model, asks=asks) or _word_fault(catalogue, model)
    return fault or package_fault(model)


def _word_fault(catalogue: Catalogue, model: Model) -> Fault | None:
    """The first thing that keeps a learned word from being loaded."""
    for word, source in model.textual_inversions.items():
        file = Path(catalogue.place_of(source))
        advice = f"put it there (relative to models.toml), or correct textual_inversions of [models.{model.name}]"
        fault = file_fault(file) if file.is_file() else Fault(found=f"there is no file {source}", advice=advice)
        if fault:
            return replace(fault, found=f"textual_inversions.{word}: {fault.found}")
    return None


def _file_fault(file: Path, model: Model) -> Fault | None:
    table = f"[models.{model.name}] in models.toml"
    if not file.exists():
        kind = "file" if is_file_name(model.source) else "folder"
        return Fault(
            found=f"there is no {kind} {file}",
            advice=f"put the model there (relative to models.toml), or correct source of {table}",
        )
    if file.suffix == GGUF_SUFFIX:
        where = f"[models.{model.name}.components.transformer]"
        return Fault(
            found=f"{file} holds one component", advice=f"name it as source of {where}, and its pipeline in {table}"
        )
    if model.variant is not None:
        return Fault(found="variant is set, and source is one file", advice=f"leave variant out of {table}")
    return file_fault(file)
