"""
`python -m workers.process.fetch`: puts the models of the catalogue that come from a hub or a store onto this disk.

Those of a store lie where workers copy them to. Those of a hub lie in `HF_HOME`, each under the commit of its revision:
a worker with `HF_HUB_OFFLINE=1` then loads that commit, or does not start; it neither waits for a hub nor takes what
somebody has pushed since.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from jobs.process.settings import load_settings
from storage.errors import StorageError
from workers.families.registry import check_family
from workers.loading.errors import NotLoaded, refuse
from workers.loading.weights.component_sources import component_fault, component_place, is_component_of_hub
from workers.loading.weights.configuration import configuration_of
from workers.loading.weights.folder import first_fault, not_loaded
from workers.loading.weights.hub import is_from_hub, revision_fault
from workers.loading.weights.sources import source_fault
from workers.process.settings import load_worker_settings
from workers.process.stored.models import copy_stored

# Of a component: configuration, vocabulary, and weights under the names that are looked for, of any variant.
_COMPONENT_FILES = ("*.json", "*.txt", "*.model", "model*.safetensors", "diffusion_pytorch_model*.safetensors")


def fetch_models(catalogue: Catalogue) -> dict[str, Path]:
    """
    Fetch what is not here yet.

    Returns:
        The folder of each model, or of its configuration, that comes from a hub, by the model's name. The folder's name
            is the commit.

    Raises:
        InvalidConfiguration: A revision is no commit, a model cannot be had at its own, or no worker could run it; says
            which, and why.
    """
    for model in catalogue.models.values():
        check_family(model)
    folders = {}
    for model in catalogue.models.values():
        if is_from_hub(catalogue, model):
            folders[model.name] = _fetch(model)
        elif Path(catalogue.source_of(model)).is_file():
            folders |= _fetch_configuration(catalogue, model)
        folders |= _fetch_components(catalogue, model)
    return folders


def _fetch_components(catalogue: Catalogue, model: Model) -> dict[str, Path]:
    """Those that come from a hub by themselves, by `MODEL.components.NAME`."""
    if fault := component_fault(catalogue, model, asks=True):
        raise InvalidConfiguration(f"model {model.name}: {fault.found}; {fault.advice}")
    folders = {}
    for name, component in model.components.items():
        place = component_place(catalogue, model, name)
        if component.source is not None and is_component_of_hub(place):
            folder = _snapshot(model, name, place, f"{component.subfolder}/" if component.subfolder else "")
            folders[f"{model.name}.components.{name}"] = folder
    return folders


def _snapshot(model: Model, name: str, repository: str, subfolder: str) -> Path:
    from huggingface_hub import snapshot_download  # Late, as below.

    revision = model.components[name].revision
    try:
        files = [f"{subfolder}{pattern}" for pattern in _COMPONENT_FILES]
        return Path(snapshot_download(repository, revision=revision, allow_patterns=files))
    except (OSError, ValueError, RuntimeError) as exc:
        raise InvalidConfiguration(
            f"model {model.name}: components.{name}: {repository} cannot be had at revision {revision}: {exc}"
        ) from exc


def _fetch_configuration(catalogue: Catalogue, model: Model) -> dict[str, Path]:
    """Of a model in one file, whose own is here."""
    try:
        refuse(source_fault(catalogue, model))
        folder = configuration_of(catalogue, model)
    except NotLoaded as exc:
        raise InvalidConfiguration(f"model {model.name}: {exc}") from exc
    return {} if model.config and catalogue.place_of(model.config) == str(folder) else {model.name: folder}


def _fetch(model: Model) -> Path:
    if fault := revision_fault(model):
        raise InvalidConfiguration(f"model {model.name}: {fault.found}; {fault.advice}")
    from diffusers import DiffusionPipeline  # Late: it takes seconds, and there may be nothing to fetch.

    others = {name for name, each in model.components.items() if each.source is not None}
    leave_out: dict[str, Any] = dict.fromkeys(not_loaded(model) | others)
    try:
        options = {"revision": model.revision, "use_safetensors": True, "variant": model.variant}
        folder = Path(DiffusionPipeline.download(model.source, **options, **leave_out))
    except (OSError, ValueError, RuntimeError) as exc:
        raise InvalidConfiguration(
            f"model {model.name}: {model.source} cannot be had at revision {model.revision}: {exc}"
        ) from exc
    if folder.name != model.revision:
        raise InvalidConfiguration(
            f"model {model.name}: {folder} is not {model.source} at {model.revision}; delete it, and fetch again"
        )
    if fault := first_fault(folder, leave_out, model.variant):
        raise InvalidConfiguration(f"model {model.name}: {fault.found}; {fault.advice}")
    return folder


def main() -> None:
    """Fetch for the catalogue of the settings; a model that cannot be had ends it with a sentence and code 1."""
    try:
        catalogue = Catalogue.read(load_settings().models_file)
        copied = copy_stored(catalogue, catalogue.models, load_worker_settings())
        fetched = fetch_models(catalogue)
    except (InvalidConfiguration, StorageError) as exc:
        sys.exit(f"fetch: {exc}")
    lines = [f"{name}: {each} is in {catalogue.place_of(each)}" for name, sources in copied.items() for each in sources]
    lines += [f"{name}: revision {path.name} is in {path}" for name, path in fetched.items()]
    sys.stdout.write("\n".join(lines or ["no model of the catalogue comes from a hub or a store"]) + "\n")


if __name__ == "__main__":
    main()
