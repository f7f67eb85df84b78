"""Whether a model's files are what its entry says, and fit into the GPUs of this machine. Nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from ops.doctor.finding import Finding, State
from ops.doctor.gpu import memory_mib
from ops.models.components import Pipeline, read_pipeline
from ops.models.files import FolderFiles
from ops.models.memory import describe_weights, device_bytes, fitting, pipeline_in, weights_bytes, with_components
from ops.models.proposal import OTHER
from workers.families.registry import family_of_pipeline
from workers.loading.weights.folder import INDEX, not_loaded

_SMALLER = (
    "quantize it (quantization), load it as another dtype, encode texts on the processor (text_device), have "
    "weights wait beside the GPU (offload), or use a larger one"
)


def judge_folder(check: str, model: Model, folder: Path, catalogue: Catalogue) -> Finding:
    """Its class, and the memory that its weights take; of a folder whose files are whole."""
    try:
        pipeline = read_pipeline(FolderFiles(folder), not_loaded(model), model.variant)
        pipeline, kept = with_components(pipeline, catalogue, model)
    except ValueError as exc:
        return _finding(check, State.FAILURE, str(exc), "copy the model again")
    if other := _other_family(pipeline, model):
        advice = f'set family = "{other}" of [models.{model.name}], or correct its source'
        found = f"{folder}: {INDEX} names {pipeline.class_name}, and family is {model.family}"
        return _finding(check, State.WARNING, found, advice)
    return _judge_memory(check, model, folder, weights_bytes(pipeline, model, kept))


def judge_file(check: str, model: Model, file: Path, catalogue: Catalogue) -> Finding:
    """The memory that the weights of a model in one file take, with those of components from elsewhere."""
    try:
        pipeline, kept = with_components(pipeline_in(file, model.family), catalogue, model)
    except ValueError as exc:
        return _finding(check, State.FAILURE, str(exc), "copy the model again")
    return _judge_memory(check, model, file, weights_bytes(pipeline, model, kept))


def _judge_memory(check: str, model: Model, place: Path, sizes: Mapping[str, int]) -> Finding:
    if not sizes:
        return Finding(check=check, state=State.OK, found=str(place))
    fits, cards = fitting(device_bytes(sizes, model), memory_mib())
    cards = cards or ("offload has no effect on this machine, which has no GPU" if model.offload else "")
    found = f"{place}: {describe_weights(sizes, model)}" + (f"; {cards}" if cards else "")
    return (
        Finding(check=check, state=State.OK, found=found) if fits else _finding(check, State.WARNING, found, _SMALLER)
    )


def _other_family(pipeline: Pipeline, model: Model) -> str | None:
    """The family of the pipeline in a folder, where the entry says another one; any may run as `diffusers`."""
    family = family_of_pipeline(pipeline.class_name)
    return family if model.family != OTHER and family not in (None, model.family) else None


def _finding(check: str, state: State, found: str, advice: str) -> Finding:
    return Finding(check=check, state=state, found=found, advice=f"{advice[0].upper()}{advice[1:]}.")
