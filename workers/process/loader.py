"""Brings models onto the device of a worker, each tried out before a job meets it, and takes them away again."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, MutableMapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import structlog
import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import ErrorCode, InvalidConfiguration
from jobs.kinds.generate import GenerateSpec
from workers.engine.adapter import AnyAdapter
from workers.engine.engine import Engine
from workers.engine.errors import GenerationFailed, WrongPictures
from workers.families.family import PictureFamily
from workers.loading.checks.guidance import check_guidance
from workers.loading.checks.sides import check_edits, check_side_multiple
from workers.loading.models import load_model
from workers.process.settings import WorkerSettings
from workers.process.stored.models import copy_stored

log = structlog.get_logger()

T = TypeVar("T")

_WARM_UP_STEPS = 2
_MOST_IMAGES = 64  # of a job


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
        cache_bytes = self._settings.embedding_cache_mib << 20
        copy_stored(self._catalogue, names, self._settings)
        entries = [self._catalogue.models[name] for name in names]
        adapters = [load_model(self._catalogue, each, self._device, cache_bytes) for each in entries]
        for adapter in adapters:
            check_edits(adapter)
            check_guidance(adapter)
            check_side_multiple(adapter, self._catalogue)
        return adapters


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


def warm_up(engine: Engine, adapter: PictureFamily[Any], **fields: int) -> int:
    """
    Make a picture of default size, or edit one where the model does nothing else. Returns how many share a pass.

    Args:
        fields: Of its job, in the place of defaults.
    """
    entry = adapter.entry
    steps = min(_WARM_UP_STEPS, entry.defaults.num_inference_steps)
    said = {"model": entry.name, "prompt": "a picture", "seed": 0, "num_inference_steps": steps}
    spec = GenerateSpec.model_validate(entry.defaults.model_dump() | said | fields)
    ticket = engine.submit(entry.name, adapter.work_to_try(spec))
    try:
        ticket.result()
    except WrongPictures as exc:
        raise InvalidConfiguration(
            f"model {entry.name} does not make what its defaults ask: {exc.found}. "
            f"Correct defaults and limits of [models.{entry.name}] in models.toml"
        ) from exc
    except GenerationFailed as exc:
        if exc.code != ErrorCode.INVALID_OUTPUT:  # Two steps may end anywhere; that it ran is what counts.
            raise InvalidConfiguration(f"model {entry.name} makes no picture: {exc.detail}") from exc
    return ticket.jobs_a_pass


def compile_passes(engine: Engine, adapter: PictureFamily[Any]) -> None:
    """
    Have passes of each size of pictures that its entry names compiled, of 1, 2, 4 … jobs up to what shares a pass.

    Raises:
        InvalidConfiguration: One of them is not made.
    """
    entry = adapter.entry
    if adapter.compiled is None:
        return
    started = time.perf_counter()
    for width, height in dict.fromkeys([(entry.defaults.width, entry.defaults.height), *entry.compile_sizes]):
        most = min(warm_up(engine, adapter, width=width, height=height), _MOST_IMAGES)
        images = 2
        while images <= most:
            warm_up(engine, adapter, width=width, height=height, n=images)
            images *= 2
    adapter.compiled.close()
    log.info("model compiled", model=entry.name, seconds=round(time.perf_counter() - started, 1))
