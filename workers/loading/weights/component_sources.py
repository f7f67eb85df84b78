"""Where the components come from that an entry names by themselves, and whether they are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.catalogue.loading import GGUF_SUFFIX, Component
from workers.loading.errors import Fault
from workers.loading.weights.files import file_fault
from workers.loading.weights.folder import INDEX, not_loaded
from workers.loading.weights.hub import commit_fault, is_path
from workers.loading.weights.part import first_part_fault


def component_place(catalogue: Catalogue, model: Model, name: str) -> str:
    """A folder or a file of a component as an absolute path, or the hub id that it is from."""
    component = model.components[name]
    source = model.source if component.source is None else component.source
    place = catalogue.place_of(source)
    if not Path(place).is_dir():
        return place
    default = name if (Path(place) / INDEX).is_file() else ""
    return str(Path(place) / (component.subfolder or default))


def is_component_of_hub(place: str) -> bool:
    """Whether what `component_place` says is a hub id."""
    return not is_path(place)


def component_fault(catalogue: Catalogue, model: Model, *, asks: bool) -> Fault | None:
    """The first thing that keeps a component from being loaded; None where none shows."""
    for name, component in model.components.items():
        if name in not_loaded(model):
            advice = f"set {name} = true of [models.{model.name}] in models.toml, or leave its component out"
            return Fault(found=f"components.{name}: the model runs without one", advice=advice)
        place = component_place(catalogue, model, name)
        if fault := _fault(place, model, name, component, asks=asks):
            return replace(fault, found=f"components.{name}: {fault.found}")
    return None


def _fault(place: str, model: Model, name: str, component: Component, *, asks: bool) -> Fault | None:
    table = f"[models.{model.name}.components.{name}] in models.toml"
    if is_component_of_hub(place):
        if component.source is None:  # The model's own, whose revision is judged already.
            return None
        line = f'revision = "{{}}" of [models.{model.name}.components.{name}]'
        return commit_fault(place, component.revision or "", line, asks=asks)
    if component.revision is not None:
        return Fault(found="revision is set, and source is not of a hub", advice=f"leave revision out of {table}")
    path = Path(place)
    if path.is_dir():
        return first_part_fault(path, component.variant or model.variant)
    return _file_fault(place, component, table)


def _file_fault(place: str, component: Component, table: str) -> Fault | None:
    file = Path(place)
    if not file.exists():
        return Fault(found=f"there is no {place}", advice=f"put it there (relative to models.toml), or correct {table}")
    for line in ("variant", "subfolder"):
        if getattr(component, line) is not None:
            return Fault(found=f"{line} is set, and source is one file", advice=f"leave {line} out of {table}")
    return file_fault(file, (".safetensors", GGUF_SUFFIX))
