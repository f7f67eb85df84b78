"""Loads pipelines of diffusers, whole or not at all. Only where one is needed: its import takes seconds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from workers.families.family import Family
from workers.families.parts.scheduler_names import unknown_schedulers
from workers.loading.assembly.attention import set_attention
from workers.loading.assembly.compilation import compile_blocks
from workers.loading.assembly.components import load_components
from workers.loading.assembly.library_errors import library_errors
from workers.loading.assembly.offload import place
from workers.loading.assembly.quantization import check_device
from workers.loading.assembly.single_file import is_one_file, loader_of_file
from workers.loading.assembly.textual_inversions import add_textual_inversions
from workers.loading.checks.missing import broken_parts, missing_parts, noting_random_tensors
from workers.loading.checks.outputs import check_output
from workers.loading.errors import NotLoaded, refuse
from workers.loading.weights.folder import not_loaded
from workers.loading.weights.sources import source_fault

# Bars of a second's loading.
diffusers_logging.disable_progress_bar()
transformers.logging.disable_progress_bar()


def load_pipeline(catalogue: Catalogue, entry: Model, family: Family, device: torch.device) -> Any:
    """
    A pipeline with all its weights, on a device.

    Raises:
        NotLoaded: Something of it is missing or damaged, or it is none of this family.
    """
    if unknown := unknown_schedulers(entry.schedulers):
        advice = f"correct schedulers of [models.{entry.name}] in models.toml"
        raise NotLoaded(f"no scheduler {', '.join(unknown)} is known; {advice}")
    refuse(source_fault(catalogue, entry))
    check_device(entry, device)
    load = (loader_of_file if is_one_file(catalogue, entry) else _loader)(catalogue, entry, family)
    options: dict[str, Any] = {"dtype": getattr(torch, entry.dtype)}
    if left_out := not_loaded(entry):
        options |= {**dict.fromkeys(left_out), "requires_safety_checker": False}
    with library_errors(), _quiet(), noting_random_tensors() as missing:
        pipeline = load(**options)
    if missing := [*missing, *missing_parts(pipeline)]:
        raise NotLoaded(f"{'; '.join(missing)}; download the whole model again")
    if entry.safety_checker and getattr(pipeline, "safety_checker", None) is None:
        raise NotLoaded(
            "safety_checker: the model comes without one: leave it out, or name one as source of "
            f"[models.{entry.name}.components.safety_checker] in models.toml"
        )
    if unfit := _unfit(pipeline, entry.family, family.parts):
        raise NotLoaded(f"{unfit}; correct source or family of [models.{entry.name}] in models.toml")
    _tile(pipeline, entry)
    with library_errors():
        add_textual_inversions(pipeline, catalogue, entry)
        set_attention(pipeline, entry)
        place(pipeline, entry, device)
        compile_blocks(pipeline, entry)
    if broken := list(broken_parts(pipeline)):
        raise NotLoaded(f"{'; '.join(broken)}; get the model from somewhere else, or convert it again")
    return pipeline


def _loader(catalogue: Catalogue, entry: Model, family: Family) -> Callable[..., Any]:
    """What loads the pipeline of a folder or of the hub."""
    source = catalogue.source_of(entry)
    revision = None if Path(source).is_dir() else entry.revision
    with library_errors():
        index = DiffusionPipeline.load_config(source, revision=revision)
    if family.pipeline is DiffusionPipeline:
        check_output(index, entry)
    configuration = {"config": source, "config_revision": revision}

    def load(**options: Any) -> Any:
        options |= load_components(catalogue, entry, index, configuration)
        # Nothing but safetensors: the libraries would otherwise fall back to pickles where a model has no others.
        options |= {"use_safetensors": True, "variant": entry.variant, "revision": revision}
        return family.pipeline.from_pretrained(source, **options)

    return load


def _tile(pipeline: Any, entry: Model) -> None:
    """Have pictures decoded in tiles, where the entry asks it."""
    if entry.vae_tiling:
        vae: Any = getattr(pipeline, "vae", None)
        if not hasattr(vae, "use_tiling"):
            raise NotLoaded(f"vae_tiling: its pipeline has no vae that tiles; leave it out of [models.{entry.name}]")
        vae.enable_tiling()


def _unfit(pipeline: Any, family: str, parts: Sequence[str]) -> str | None:
    """Why an adapter of this family cannot use a pipeline."""
    absent = [name for name in parts if getattr(pipeline, name, None) is None]
    if absent:
        return f"the model has no {', '.join(absent)}, which family {family} needs"
    if "prompt" not in inspect.signature(pipeline.__call__).parameters:
        return f"{type(pipeline).__name__} takes no prompt"
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """What diffusers would warn of while it loads is in the error, or does not matter."""
    before = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity(diffusers_logging.CRITICAL)
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(before)
