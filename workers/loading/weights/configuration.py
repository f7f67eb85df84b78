"""
What a model in one file goes without: the configuration of each component, and the vocabularies.

It comes from the folder of a pipeline, or from a pipeline of a hub, without its weights.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from workers.loading.errors import Fault, NotLoaded
from workers.loading.weights.folder import configuration_folder_fault
from workers.loading.weights.header import read_header
from workers.loading.weights.hub import commit_fault
from workers.loading.weights.offline import missing_configuration

_FILES = ("*.json", "*/*.json", "*.txt", "*/*.txt", "*/*.model")  # of a pipeline, all but weights


def configuration_fault(catalogue: Catalogue, model: Model, *, asks: bool) -> Fault | None:
    """What keeps the `config` of an entry from being had; None where it has none, or nothing shows."""
    if model.config is None:
        return None
    place = Path(catalogue.place_of(model.config))
    if place.is_dir():
        return configuration_folder_fault(place)
    repository, _, commit = model.config.partition("@")
    line = f'config = "{repository}@{{}}" of [models.{model.name}]'
    fault = commit_fault(repository, commit, line, asks=asks) or missing_configuration(repository, commit)
    return None if fault is None else replace(fault, found=f"config: {fault.found}")


def configuration_of(catalogue: Catalogue, model: Model) -> Path:
    """
    The folder with the configuration of an entry whose source is a file; fetched where it is not here yet.

    Without `config`, it is that of the pipeline which diffusers takes the file's tensors for, at its newest commit.

    Raises:
        NotLoaded: It cannot be had.
    """
    if model.config is None:
        return _fetched(model, _likeness(Path(catalogue.source_of(model))), None)
    place = Path(catalogue.place_of(model.config))
    if place.is_dir():
        return place
    repository, _, commit = model.config.partition("@")
    return _fetched(model, repository, commit)


def _likeness(file: Path) -> str:
    """The repository of the pipeline that a file is one of."""
    import torch
    from diffusers.loaders.single_file_utils import fetch_diffusers_config

    tensors = {name: torch.empty(each.shape, device="meta") for name, each in read_header(file).items()}
    like: str = fetch_diffusers_config(tensors)["pretrained_model_name_or_path"]
    return like


def _fetched(model: Model, repository: str, commit: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=commit, allow_patterns=list(_FILES)))
    except (OSError, ValueError, RuntimeError) as exc:
        at = f" at {commit}" if commit else ""
        taken = "" if commit else f"it has no configuration of its own, and is taken for one like {repository}: "
        missing = missing_configuration(repository, commit)
        reason = missing.found if missing else " ".join(str(exc).split()[:40])
        raise NotLoaded(
            f"{taken}the configuration of {repository}{at} is neither here nor to be had ({reason}); set config of "
            f"[models.{model.name}] in models.toml to the folder of such a pipeline (weights are not needed in it), "
            "or run `python -m workers.process.fetch` where there is a way to the hub"
        ) from exc
