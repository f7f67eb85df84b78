"""Loads the components that an entry names by themselves: another autoencoder, a transformer from one file."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import GGUFQuantizationConfig
from diffusers.loaders.single_file_utils import SingleFileComponentError
from diffusers.pipelines.pipeline_loading_utils import simple_get_class_obj

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.catalogue.loading import GGUF_SUFFIX
from workers.loading.assembly.quantization import (
    check_quantized,
    naming_quantized,
    quantization_config,
    quantize,
)
from workers.loading.assembly.shared import shared
from workers.loading.checks.missing import naming_missing_tensors
from workers.loading.errors import NotLoaded
from workers.loading.weights.component_sources import component_place, is_component_of_hub

Index = Mapping[str, Any]


def load_components(catalogue: Catalogue, entry: Model, index: Index, configuration: dict[str, Any]) -> dict[str, Any]:
    """
    Those of an entry, by name.

    Args:
        index: What `model_index.json` of the pipeline says.
        configuration: Where the configuration of the pipeline is, as `from_single_file` of a component takes it.

    Raises:
        NotLoaded: The pipeline has no such component, or it does not load so.
    """
    entry = naming_quantized(entry, index)
    kinds = {name: _class_of(name, index) for name in entry.components}
    load = {name: partial(_load, catalogue, entry, name, kind, configuration) for name, kind in kinds.items()}
    return {name: shared(catalogue, entry, name, kind, load[name]) for name, kind in kinds.items()}


def _class_of(name: str, index: Index) -> Any:
    there = [each for each, named in index.items() if isinstance(named, list) and not each.startswith("_")]
    if name not in there:
        whole = index.get("_class_name")
        raise NotLoaded(f"components.{name}: {whole} has no such component; it has {', '.join(there)}")
    library, class_name = index[name]
    if class_name is None:
        raise NotLoaded(f"components.{name}: the pipeline goes without one, and does not say which class it would be")
    return simple_get_class_obj(library, class_name)


def _load(catalogue: Catalogue, entry: Model, name: str, kind: Any, configuration: dict[str, Any]) -> Any:
    component = entry.components[name]
    options: dict[str, Any] = {}
    if issubclass(kind, torch.nn.Module):
        options["dtype"] = getattr(torch, component.dtype or entry.dtype)
    elif component.dtype is not None:
        raise NotLoaded(f"components.{name}: {kind.__name__} has no weights: leave dtype out")
    if component.quantization is None:
        return _loaded(catalogue, entry, name, kind, configuration, options)
    config = quantization_config(entry, name, kind)
    if Path(component_place(catalogue, entry, name)).is_file():
        return quantize(_loaded(catalogue, entry, name, kind, configuration, options), config, name)
    options["quantization_config"] = config
    return check_quantized(_loaded(catalogue, entry, name, kind, configuration, options), name)


def _loaded(
    catalogue: Catalogue, entry: Model, name: str, kind: Any, configuration: dict[str, Any], options: dict[str, Any]
) -> Any:
    component, place = entry.components[name], component_place(catalogue, entry, name)
    if Path(place).is_file():
        return _of_file(Path(place), name, kind, options | configuration)
    if is_component_of_hub(place):
        own = component.source is None
        options["revision"] = entry.revision if own else component.revision
        options["subfolder"] = component.subfolder or (name if own else "")
    if issubclass(kind, torch.nn.Module):
        options |= {"use_safetensors": True, "variant": component.variant or entry.variant}
        kind = _own_class(Path(place), kind)
    return kind.from_pretrained(place, **options)


def _of_file(file: Path, name: str, kind: Any, options: dict[str, Any]) -> Any:
    if not hasattr(kind, "from_single_file"):
        raise NotLoaded(f"components.{name}: {kind.__name__} does not load from one file: name a folder of it")
    if file.suffix == GGUF_SUFFIX:
        options["quantization_config"] = GGUFQuantizationConfig(compute_dtype=options["dtype"])
    try:
        with naming_missing_tensors():
            return kind.from_single_file(str(file), subfolder=name, **options)
    except (SingleFileComponentError, LookupError) as exc:  # The second where it takes them for its trainers' names.
        found = f"components.{name}: {file} lacks tensors of {kind.__name__}, or has them under names of its own"
        raise NotLoaded(f"{found}; get the whole file, or another one") from exc


def _own_class(folder: Path, kind: Any) -> Any:
    """That which a component's folder says, for a model of diffusers may be of another than the pipeline's own."""
    file = folder / "config.json"
    named = json.loads(file.read_bytes()).get("_class_name") if file.is_file() else None
    own = getattr(diffusers, str(named), None)
    return own if inspect.isclass(own) and issubclass(kind, diffusers.ModelMixin) else kind
