"""Loads models of the catalogue, each behind the adapter of its family."""

from __future__ import annotations

import errno
import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
import torch
import transformers
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.utils import logging as diffusers_logging

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from workers.engine.errors import is_out_of_memory
from workers.families.embeddings import EmbeddingCache
from workers.families.family import PictureFamily
from workers.families.schedulers import unknown_schedulers
from workers.families.simulated import DeviceTimes, SimulatedModel
from workers.families.stable_diffusion import StableDiffusion
from workers.families.stable_diffusion_xl import StableDiffusionXL
from workers.families.whole_pipeline import WholePipeline
from workers.loading.folder import first_fault, not_loaded
from workers.loading.missing import missing_parts, noting_random_tensors

log = structlog.get_logger()

# Bars of a second's loading.
diffusers_logging.disable_progress_bar()
transformers.logging.disable_progress_bar()

_STEPPED: dict[str, tuple[Any, type[StableDiffusion]]] = {
    "stable-diffusion": (StableDiffusionPipeline, StableDiffusion),
    "stable-diffusion-xl": (StableDiffusionXLPipeline, StableDiffusionXL),
}
# What their adapters go through.
_PARTS: dict[str, tuple[str, ...]] = {
    "stable-diffusion": ("unet", "vae", "scheduler", "text_encoder", "tokenizer"),
    "stable-diffusion-xl": ("unet", "vae", "scheduler", "text_encoder_2", "tokenizer_2"),
}
_LONGEST_REASON = 400  # characters of what a library says


def choose_device(wanted: str) -> torch.device:
    """The device that the settings ask for. Raises `InvalidConfiguration` where there is none."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InvalidConfiguration("IMAGEMILL_WORKER_DEVICE: torch sees no CUDA device; install its driver, or use cpu")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def load_model(
    catalogue: Catalogue, entry: Model, device: torch.device, embedding_cache_bytes: int
) -> PictureFamily[Any]:
    """
    Load one model onto a device.

    Raises:
        InvalidConfiguration: It cannot be loaded; says which, and why.
    """
    if unknown := unknown_schedulers(entry.schedulers):
        raise InvalidConfiguration(f"model {entry.name}: no scheduler {', '.join(unknown)} is known")
    if entry.family == "simulated":
        return SimulatedModel(entry, DeviceTimes.parse(entry.source))
    pipeline_class, adapter = _STEPPED.get(entry.family, (DiffusionPipeline, None))
    try:
        pipeline = _load_pipeline(entry, catalogue.source_of(entry), pipeline_class, device)
    except _NotLoaded as exc:
        place = catalogue.source_of(entry)
        raise InvalidConfiguration(f"model {entry.name} cannot be loaded from {place}: {exc}") from exc
    log.info("model loaded", model=entry.name, revision=entry.revision, device=str(device), dtype=entry.dtype)
    if adapter is None:
        return WholePipeline(entry, pipeline)
    return adapter(entry, pipeline, EmbeddingCache(embedding_cache_bytes))


class _NotLoaded(Exception):
    """Why, and what to do: the end of a sentence."""


def _load_pipeline(entry: Model, source: str, pipeline_class: Any, device: torch.device) -> Any:
    options: dict[str, Any] = {"dtype": getattr(torch, entry.dtype)}
    if source == entry.source:
        options["revision"] = entry.revision
    if left_out := not_loaded(entry):
        options |= {**dict.fromkeys(left_out), "requires_safety_checker": False}
    if Path(source).is_dir() and (fault := first_fault(Path(source), left_out)):
        raise _NotLoaded(f"{fault.found}; {fault.advice}")
    with _library_errors(), _quiet(), noting_random_tensors() as missing:
        pipeline = pipeline_class.from_pretrained(source, **options)
    if missing := [*missing, *missing_parts(pipeline)]:
        raise _NotLoaded(f"{'; '.join(missing)}; get the whole model again")
    if unfit := _unfit(pipeline, entry.family):
        raise _NotLoaded(f"{unfit}; correct source or family of [models.{entry.name}] in models.toml")
    with _library_errors():
        return pipeline.to(device)


def _unfit(pipeline: Any, family: str) -> str | None:
    """Why an adapter of this family cannot use a pipeline."""
    absent = [name for name in _PARTS.get(family, ()) if getattr(pipeline, name, None) is None]
    if absent:
        return f"the model has no {', '.join(absent)}, which family {family} needs"
    if "prompt" not in inspect.signature(pipeline.__call__).parameters:
        return f"{type(pipeline).__name__} takes no prompt"
    return None


@contextmanager
def _library_errors() -> Iterator[None]:
    """
    What the libraries that load raise, as a sentence.

    Of any class: they raise what json, safetensors, the allocator or an assertion of their own raised. So as little of
    ours as can be runs in here, for a bug of ours is to show its traceback.
    """
    try:
        yield
    except Exception as exc:
        reason = " ".join(str(exc).split()) or type(exc).__name__
        if len(reason) > _LONGEST_REASON:
            reason = f"{reason[:_LONGEST_REASON]} …"
        if is_out_of_memory(exc) or os.strerror(errno.ENOMEM) in str(exc):  # So mmap's refusal reads.
            advice = "serve fewer models (IMAGEMILL_WORKER_MODELS), or one that needs less, or use a larger machine"
            raise _NotLoaded(f"there is too little memory ({reason}); {advice}") from exc
        raise _NotLoaded(f"{reason}; correct its entry in models.toml, or get the whole model again") from exc


@contextmanager
def _quiet() -> Iterator[None]:
    """What diffusers would warn of while it loads is told by the error, or does not matter."""
    before = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity(diffusers_logging.CRITICAL)
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(before)
