"""Has the sources of models that are in a store copied here, before they are loaded."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from storage.errors import ObjectNotFound, StorageMisconfigured
from storage.registry import open_store
from workers.loading.weights.stored import stored_sources
from workers.process.settings import WorkerSettings
from workers.process.stored.cache import ModelCache, NoRoom
from workers.process.stored.download import NotWhole
from workers.process.stored.listing import list_source

_BYTES_OF_GB = 1_000_000_000


def copy_stored(catalogue: Catalogue, names: Iterable[str], settings: WorkerSettings) -> dict[str, list[str]]:
    """
    Copy the sources of models from the store, with its own keys; they stay while this process lives.

    Args:
        catalogue: Finds the copies from then on.
        names: Of the models.

    Returns:
        The sources of each model that has any, which are here now.

    Raises:
        InvalidConfiguration: One is not there, not whole, too large, or the store refuses it; says what to do.
        StorageUnavailable
    """
    copied: dict[str, list[str]] = {}
    for name in names:
        model = catalogue.models[name]
        for source in stored_sources(model):
            _copy(catalogue, model, source, settings)
            copied.setdefault(name, []).append(source)
    return copied


def _copy(catalogue: Catalogue, model: Model, source: str, settings: WorkerSettings) -> None:
    cache_here = _cache_of(settings.model_cache_root, int(settings.model_cache_gb * _BYTES_OF_GB))
    try:
        catalogue.take_copy(source, cache_here.fetch(list_source(open_store(), source)))
    except (ObjectNotFound, StorageMisconfigured) as exc:
        advice = f"put the model there for the store's keys to read, or correct [models.{model.name}] in models.toml"
        raise InvalidConfiguration(f"{catalogue.called(model)} cannot be loaded: {exc}; {advice}") from exc
    except (NotWhole, NoRoom) as exc:
        raise InvalidConfiguration(f"{catalogue.called(model)} cannot be loaded: {exc}") from exc
    except OSError as exc:
        where = "set IMAGEMILL_WORKER_MODEL_CACHE_DIR to a folder that this user may write"
        raise InvalidConfiguration(f"{catalogue.called(model)} cannot be copied: {exc}; {where}") from exc


@cache
def _cache_of(root: Path, most_bytes: int) -> ModelCache:
    """One for the process: what it gave is in use until that ends."""
    return ModelCache(root, most_bytes)
