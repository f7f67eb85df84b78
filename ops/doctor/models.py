"""The model catalogue, and whether the folders that it names are here, and whole. Nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from jobs.process.settings import load_settings
from ops.doctor.finding import Finding, State, attempt, attempt_all
from ops.doctor.gpu import memory_mib
from ops.doctor.model_folder import judge_file, judge_folder
from ops.models.sources.hub import is_hub_id
from ops.models.sources.stored import mirrored, without_checksums
from storage.errors import StorageError
from workers.families.parts.scheduler_names import unfit_schedulers, unknown_schedulers
from workers.families.registry import check_family
from workers.loading.weights.hub import is_path
from workers.loading.weights.sources import source_fault
from workers.loading.weights.stored import stored_sources
from workers.process.stored.listing import SUMS

CATALOGUE = "model catalogue"


def check_models(name: str | None = None) -> list[Finding]:
    """The catalogue, and each of its models, or the one of a name."""
    return attempt_all(CATALOGUE, lambda: _check(name))


def _check(name: str | None) -> list[Finding]:
    path = load_settings().models_file
    try:
        catalogue = Catalogue.read(path)
    except InvalidConfiguration as exc:
        advice = "Correct the file, or set IMAGEMILL_MODELS_FILE to another one. Without it no job can be submitted."
        return [Finding(check=CATALOGUE, state=State.FAILURE, found=str(exc), advice=advice)]
    first, *others = catalogue.models
    found = f"{path}: {first} (the default)" + "".join(f", {each}" for each in others)
    wanted = catalogue.models.values() if name is None else [catalogue.find(name)]
    folder = path.resolve().parent
    return [
        Finding(check=CATALOGUE, state=State.OK, found=found),
        *(
            attempt(f"model {each.name}", lambda each=each: _judge(each, catalogue, folder))  # type: ignore[misc]
            for each in wanted
        ),
    ]


def _judge(model: Model, catalogue: Catalogue, folder: Path) -> Finding:
    """With the line of its entry, where something is wrong with it."""
    finding = _judge_stored(model, folder) if stored_sources(model) else judge_source(model, folder)
    place = catalogue.places.get(model.name)
    if place is None or finding.state not in (State.WARNING, State.FAILURE):
        return finding
    return replace(finding, found=f"{finding.found} ({place})")


def _judge_stored(model: Model, folder: Path) -> Finding:
    """Of a model in a store, as if what is there were here."""
    sources = stored_sources(model)
    try:
        with mirrored(sources) as copies:
            finding = judge_source(model, folder, copies)
        unsure = [source for source in sources if without_checksums(source)]
    except StorageError as exc:
        advice = f"Put the model there, or correct [models.{model.name}]; workers read it with the store's own keys."
        return Finding(check=f"model {model.name}", state=State.FAILURE, found=str(exc), advice=advice)
    found = finding.found
    for source, copy in copies.items():
        found = found.replace(str(copy), source)
    if finding.state is State.OK and unsure:
        found += f"; no {SUMS} says what all files of {unsure[0]} are to be"
    return replace(finding, found=found)


def judge_source(model: Model, catalogue_folder: Path, copies: Mapping[str, Path] | None = None) -> Finding:
    """
    Whether a worker on this machine would find what it is to load.

    Args:
        copies: Of sources in a store, what stands for them here.
    """
    check = f"model {model.name}"
    try:
        check_family(model)
    except InvalidConfiguration as exc:
        advice = f"Correct `family` of [models.{model.name}]: no worker starts with it."
        return Finding(check=check, state=State.FAILURE, found=str(exc), advice=advice)
    if model.family == "simulated":
        return Finding(check=check, state=State.INFORMATION, found="simulated: it makes no images")
    if wrong := _judge_schedulers(check, model):
        return wrong
    catalogue = Catalogue([model], catalogue_folder)
    for each, copy in (copies or {}).items():
        catalogue.take_copy(each, copy)
    source = catalogue_folder / catalogue.place_of(model.source)
    first_part = catalogue_folder / model.source.split("/")[0]
    is_of_hub = not source.exists() and not is_path(model.source)
    if is_of_hub and (not is_hub_id(model.source) or first_part.is_dir()):
        advice = f"Put the model there, or correct `source` of [models.{model.name}]."
        return Finding(check=check, state=State.FAILURE, found=f"there is no folder {source}", advice=advice)
    if fault := source_fault(catalogue, model, asks=False):
        advice = f"{fault.advice[0].upper()}{fault.advice[1:]}."
        return Finding(check=check, state=State.FAILURE, found=fault.found, advice=advice)
    return _judge_device(check, model) or _judge_sound(check, model, source, catalogue)


def _judge_device(check: str, model: Model) -> Finding | None:
    """What no process on the processor loads, where this machine has nothing else; None where there is no such line."""
    for line, how in model.quantizations.items():
        if how == "nf4" and not memory_mib():
            advice = f"Set min_vram_gb of [models.{model.name}], and such processes leave it out; or take int8."
            found = f'{line}: "nf4" is for GPUs, and this machine has none'
            return Finding(check=check, state=State.WARNING, found=found, advice=advice)
    return None


def _judge_sound(check: str, model: Model, source: Path, catalogue: Catalogue) -> Finding:
    """What there is to say of a model at which nothing is wrong so far."""
    if source.is_dir():
        return judge_folder(check, model, source, catalogue)
    if source.exists():
        return judge_file(check, model, source, catalogue)
    found = f"{model.source} at {model.revision}, from the hub: a worker downloads it at its first start"
    return Finding(check=check, state=State.INFORMATION, found=found)


def _judge_schedulers(check: str, model: Model) -> Finding | None:
    """What is wrong with those that an entry offers; None where nothing is."""
    if unknown := unknown_schedulers(model.schedulers):
        advice = f"Correct `schedulers` of [models.{model.name}]: no worker starts with them."
        found = f"no scheduler {', '.join(unknown)} is known"
        return Finding(check=check, state=State.FAILURE, found=found, advice=advice)
    if unfit := unfit_schedulers(model):
        advice = f"Leave them out of `schedulers` of [models.{model.name}]: jobs that name one would fail."
        found = f"models of family {model.family} do not run with {', '.join(unfit)}"
        return Finding(check=check, state=State.WARNING, found=found, advice=advice)
    return None
