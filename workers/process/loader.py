"""Brings models onto the device of a worker, each tried out before a job meets it, and takes them away again."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, MutableMapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from workers.engine.adapter import AnyAdapter
from workers.engine.engine import Engine
from workers.families.family import PictureFamily
from workers.loading.checks.guidance import check_guidance
from workers.loading.checks.sides import check_edits, check_side_multiple
from workers.loading.models import load_model
from workers.process.settings import WorkerSettings
from workers.process.stored.models import copy_stored
from workers.process.warming import compile_passes, warm_up

T = TypeVar("T")


class Loader:
    """
    Owns which models an engine has.

    Args:
        adapters: Of the engine; the loader adds to it and takes away.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        settings: WorkerSettings,
        device: torch.device,
        engine: Engine,
        adapters: MutableMapping[str, AnyAdapter],
    ) -> None:
        self._catalogue = catalogue
        self._settings = settings
        self._device = device
        self._engine = engine
        self._adapters = adapters

    def read(self, names: Sequence[str]) -> list[PictureFamily[Any]]:
        """
        Bring models onto the device; the engine does not know them yet.

        Each thread that computes brings an OpenMP team of its own; with two of them on as many processors, their
        members wait for each other in the kernel (8.7 images/s instead of 14.4). So loading has a thread that ends, and
        its team.

        Raises:
            InvalidConfiguration: One cannot be loaded; says which, and why.
        """
        try:
            return in_a_thread(lambda: self._read(names))
        except InvalidConfiguration:
            self.free()
            raise

    def put(self, adapter: PictureFamily[Any]) -> int:
        """
        Give the engine, which runs, a model, and make a picture with it. Returns how many such jobs share a pass.

        Raises:
            InvalidConfiguration: It makes none, or another; then the engine does not have it.
        """
        name = adapter.entry.name
        self._adapters[name] = adapter
        try:
            jobs_a_pass = warm_up(self._engine, adapter)
            compile_passes(self._engine, adapter)
            return jobs_a_pass
        except InvalidConfiguration:
            self.drop(name)
            raise

    def drop(self, name: str) -> None:
        """Take a model from the device that no job in the engine uses, and have its memory back."""
        del self._adapters[name]
        self.free()

    def free(self) -> None:
        """Have the memory of what nobody has any more."""
        self._engine.forget_over()
        gc.collect()  # Modules and their hooks refer to each other.
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _read(self, names: Sequence[str]) -> list[PictureFamily[Any]]:
        compute_with(self._settings.threads)
        return [load_checked(self._catalogue, name, self._device, self._settings) for name in names]


def load_checked(catalogue: Catalogue, name: str, device: torch.device, settings: WorkerSettings) -> PictureFamily[Any]:
    """
    A model on a device, held against its entry.

    Raises:
        InvalidConfiguration: It cannot be loaded, or is not as its entry says; says why.
        StorageUnavailable: Its source is in a store that is away.
    """
    copy_stored(catalogue, [name], settings)
    adapter = load_model(catalogue, catalogue.models[name], device, settings.embedding_cache_mib << 20)
    check_edits(adapter)
    check_guidance(adapter)
    check_side_multiple(adapter, catalogue)
    return adapter


def compute_with(threads: int) -> None:
    """
    Set the number of threads of the calling one's OpenMP team, where it is not to be torch's own choice.

    To set it to the same number would cost 5 % of a pass of 32 rows: torch then forbids MKL to take fewer.
    """
    if threads and threads != torch.get_num_threads():
        torch.set_num_threads(threads)


def in_a_thread(call: Callable[[], T]) -> T:
    """What a call returns or raises, made by a thread that ends with it; Ctrl-C does not wait for it."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as exc:  # noqa: BLE001 - `result` raises it
            future.set_exception(exc)

    thread = threading.Thread(target=run, name="load", daemon=True)
    thread.start()
    try:
        return future.result()
    finally:
        if future.done():
            thread.join()
