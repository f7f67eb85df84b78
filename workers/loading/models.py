"""Loads models of the catalogue, each behind the adapter of its family."""

from __future__ import annotations

import warnings
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

NO_CUDA = "torch sees no CUDA device"


def choose_device(wanted: str) -> torch.device:
    """The device that the settings ask for. Raises `InvalidConfiguration` where there is none."""
    if wanted not in ("auto", "cuda"):
        return torch.device(wanted)
    fault = cuda_fault()
    if fault is None:
        return torch.device("cuda")
    if wanted == "cuda":
        raise InvalidConfiguration(f"IMAGEMILL_WORKER_DEVICE: {fault}; install its driver, or use cpu")
    if fault != NO_CUDA:
        log.warning("torch cannot use the GPU: models run on the processor", reason=fault)
    return torch.device("cpu")


def cuda_fault() -> str | None:
    """
    Why torch has no CUDA device to compute on: `NO_CUDA`, or in its own words, e.g. of a driver that is too old.

    None where it has one.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            if torch.cuda.is_available():
                return None
        except Exception as exc:  # noqa: BLE001 - of whatever class: there is no GPU for us
            return _first_line(exc)
    return _first_line(said[0].message) if said else NO_CUDA


def _first_line(message: object) -> str:
    return (str(message).splitlines() or [type(message).__name__])[0].rstrip(".")


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
