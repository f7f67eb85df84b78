"""Loads models of the catalogue and keeps them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog
import torch
import transformers
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging

from jobs.catalogue import Catalogue, Model
from jobs.errors import InvalidConfiguration
from workers.schedulers import SCHEDULERS
from workers.settings import WorkerSettings

log = structlog.get_logger()

# Bars of a second's loading.
diffusers_logging.disable_progress_bar()
transformers.logging.disable_progress_bar()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """
    A model on its device.

    Attributes:
        entry: Its entry in the catalogue.
        pipeline: diffusers' pipeline, for its parts: tokenizer, text encoder, UNet, VAE, image processor.
        device_thread: The one thread that computes. On a CPU, each further thread that calls torch brings an OpenMP
            team of its own; with more OpenMP threads than cores their barriers go through the kernel, and a picture
            took 1.05 s instead of 0.44 s.
    """

    entry: Model
    pipeline: Any
    device: torch.device
    device_thread: ThreadPoolExecutor


def choose_device(settings: WorkerSettings) -> torch.device:
    """The device that the settings ask for. Raises `InvalidConfiguration` where there is none."""
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise InvalidConfiguration("IMAGEMILL_WORKER_DEVICE: torch sees no CUDA device; install its driver, or use cpu")
    wanted = settings.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def load_models(
    catalogue: Catalogue, names: list[str], device: torch.device, threads: int = 0
) -> dict[str, LoadedModel]:
    """
    Load models by name.

    Args:
        threads: CPU threads that torch may use; 0 leaves it to torch.

    Raises:
        InvalidConfiguration: A model cannot be loaded; says which, and why.
    """
    # The number is each thread's own in OpenMP, so it is set where it counts.
    thread = ThreadPoolExecutor(1, "device", initializer=lambda: torch.set_num_threads(threads) if threads else None)
    return {name: thread.submit(_load, catalogue, catalogue.models[name], device, thread).result() for name in names}


def _load(catalogue: Catalogue, entry: Model, device: torch.device, thread: ThreadPoolExecutor) -> LoadedModel:
    unknown = set(entry.schedulers) - set(SCHEDULERS)
    if unknown:
        raise InvalidConfiguration(f"model {entry.name}: no scheduler {', '.join(sorted(unknown))} is known")
    source = catalogue.source_of(entry)
    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            source,
            revision=None if source != entry.source else entry.revision,
            dtype=getattr(torch, entry.dtype),
            safety_checker=None,
            requires_safety_checker=False,
        )
    except (OSError, ValueError, RuntimeError) as exc:
        raise InvalidConfiguration(f"model {entry.name} cannot be loaded from {source}: {exc}") from exc
    log.info("model loaded", model=entry.name, revision=entry.revision, device=str(device), dtype=entry.dtype)
    return LoadedModel(entry=entry, pipeline=pipeline.to(device), device=device, device_thread=thread)
