"""Loads models of the catalogue, each behind the adapter of its family."""

from __future__ import annotations

from typing import Any

import structlog
import torch
import transformers
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.utils import logging as diffusers_logging

from jobs.catalogue import Catalogue, Model
from jobs.errors import InvalidConfiguration
from workers.engine.adapter import Adapter
from workers.families.embeddings import EmbeddingCache
from workers.families.schedulers import unknown_schedulers
from workers.families.simulated import DeviceTimes, SimulatedModel
from workers.families.stable_diffusion import StableDiffusion
from workers.families.stable_diffusion_xl import StableDiffusionXL
from workers.families.whole_pipeline import WholePipeline
from workers.settings import WorkerSettings

log = structlog.get_logger()

# Bars of a second's loading.
diffusers_logging.disable_progress_bar()
transformers.logging.disable_progress_bar()

_STEPPED: dict[str, tuple[Any, type[StableDiffusion]]] = {
    "stable-diffusion": (StableDiffusionPipeline, StableDiffusion),
    "stable-diffusion-xl": (StableDiffusionXLPipeline, StableDiffusionXL),
}


def choose_device(settings: WorkerSettings) -> torch.device:
    """The device that the settings ask for. Raises `InvalidConfiguration` where there is none."""
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise InvalidConfiguration("IMAGEMILL_WORKER_DEVICE: torch sees no CUDA device; install its driver, or use cpu")
    wanted = settings.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def load_model(catalogue: Catalogue, entry: Model, device: torch.device, embedding_cache_bytes: int) -> Adapter[Any]:
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
    pipeline = _load_pipeline(catalogue, entry, pipeline_class).to(device)
    log.info("model loaded", model=entry.name, revision=entry.revision, device=str(device), dtype=entry.dtype)
    if adapter is None:
        return WholePipeline(entry, pipeline)
    return adapter(entry, pipeline, EmbeddingCache(embedding_cache_bytes))


def _load_pipeline(catalogue: Catalogue, entry: Model, pipeline_class: Any) -> Any:
    source = catalogue.source_of(entry)
    options: dict[str, Any] = {"dtype": getattr(torch, entry.dtype)}
    if source == entry.source:
        options["revision"] = entry.revision
    if pipeline_class is StableDiffusionPipeline:
        options |= {"safety_checker": None, "requires_safety_checker": False}
    try:
        return pipeline_class.from_pretrained(source, **options)
    except (OSError, ValueError, RuntimeError) as exc:
        raise InvalidConfiguration(f"model {entry.name} cannot be loaded from {source}: {exc}") from exc
