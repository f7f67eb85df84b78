"""
Makes the contenders, each in the process that it is to live in; torch is imported there alone.

All have the same model, device and number of threads, and compute on one thread. `device` is as in a worker's settings,
which only the engine reads itself.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from jobs.catalogue.catalogue import Catalogue

if TYPE_CHECKING:
    from workers.bench.contenders.bare import BareLoop
    from workers.bench.contenders.engine import EngineContender
    from workers.bench.contenders.request_batches import RequestBatches
    from workers.bench.contenders.tutorial import TutorialWorker


_CACHE_BYTES = 256 << 20  # for embeddings, as a worker has by default


def tutorial(models_file: Path, model: str, threads: int, device: str = "auto") -> TutorialWorker:
    """One job at a time, by the pipeline's own `__call__`; torch and malloc are left as they come."""
    from workers.bench.contenders.tutorial import TutorialWorker

    return TutorialWorker(_load(models_file, model, threads, device).pipeline)


def bare(models_file: Path, model: str, threads: int, device: str = "auto") -> BareLoop:
    """Nothing but the model's own calls."""
    from workers.bench.contenders.bare import BareLoop
    from workers.process.allocator import keep_freed_memory

    keep_freed_memory()  # As the engine has it on a CPU: this is to be what the hardware can do.
    return BareLoop(_load(models_file, model, threads, device))


def request_batches(models_file: Path, model: str, threads: int, max_jobs: int, device: str = "auto") -> RequestBatches:
    """Batches that nobody joins or leaves."""
    from workers.bench.contenders.request_batches import RequestBatches
    from workers.process.allocator import keep_freed_memory

    keep_freed_memory()  # As the engine has it on a CPU: the policies are to be compared.
    return RequestBatches(_load(models_file, model, threads, device), max_jobs)


def engine(models_file: Path, model: str, threads: int, cache_dir: Path | None = None) -> EngineContender:
    """
    The engine as a worker starts it.

    Args:
        cache_dir: Where its batch sizes are kept; without one they are measured anew.
    """
    from workers.bench.contenders.engine import EngineContender
    from workers.process.settings import load_worker_settings
    from workers.process.start import start_engine

    with TemporaryDirectory(prefix="imagemill-bench-") as cache:  # What another run measured may hold no longer.
        changes = {"models": model, "threads": threads, "cache_dir": cache_dir or Path(cache)}
        settings = load_worker_settings().model_copy(update=changes)
        return EngineContender(start_engine(Catalogue.read(models_file), settings))


def engine_of_one_size(models_file: Path, model: str, threads: int) -> EngineContender:
    """The engine, of a Z-Image whose passes have pictures of one size each."""
    from workers.bench.contenders.one_size import keep_sizes_apart

    keep_sizes_apart()
    return engine(models_file, model, threads)


def _load(models_file: Path, model: str, threads: int, device: str) -> Any:
    import torch

    from workers.loading.models import choose_device, load_model

    if threads:
        torch.set_num_threads(threads)
    catalogue = Catalogue.read(models_file)
    return load_model(catalogue, catalogue.models[model], choose_device(device), _CACHE_BYTES)
