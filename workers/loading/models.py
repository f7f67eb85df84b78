"""Loads models of the catalogue, each behind the adapter of its family."""

from __future__ import annotations

from typing import Any

import structlog
import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from workers.families.family import PictureFamily
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.registry import family_of

log = structlog.get_logger()


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
    family = family_of(entry)
    cache = EmbeddingCache(embedding_cache_bytes)
    if family.pipeline is None:
        return family.adapt(entry, None, cache)
    from workers.loading.assembly.pipelines import load_pipeline
    from workers.loading.errors import NotLoaded

    place = catalogue.source_of(entry)
    try:
        pipeline = load_pipeline(catalogue, entry, family, device)
    except NotLoaded as exc:
        raise InvalidConfiguration(f"{catalogue.called(entry)} cannot be loaded from {place}: {exc}") from exc
    log.info("model loaded", model=entry.name, revision=entry.revision, device=str(device), dtype=entry.dtype)
    return family.adapt(entry, pipeline, cache)
