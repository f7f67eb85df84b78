"""Brings an engine up: models on the device, batch sizes measured, so that the first job finds everything warm."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import ErrorCode, InvalidConfiguration
from jobs.kinds.generate import GenerateSpec
from workers.engine.adapter import AnyAdapter
from workers.engine.capacity import Capacity
from workers.engine.denoiser import Pass
from workers.engine.engine import Engine
from workers.engine.errors import GenerationFailed, WrongPictures
from workers.engine.streams import device_clock
from workers.engine.watch import Watch
from workers.families.family import PictureFamily
from workers.loading.checks.guidance import check_guidance
from workers.loading.checks.sides import check_edits, check_side_multiple
from workers.loading.models import load_model
from workers.process.allocator import keep_freed_memory, return_large_pictures
from workers.process.devices.own import place
from workers.process.settings import WorkerSettings
from workers.process.stored.models import copy_stored

log = structlog.get_logger()

T = TypeVar("T")

_WARM_UP_STEPS = 2
_SWITCH_INTERVAL_S = 0.0005  # Python's default is ten times as long
_DIED = 70  # EX_SOFTWARE of sysexits.h


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyEngine:
    """
    A running engine.

    Attributes:
        served: Names of its models.
        jobs_a_pass: How many jobs of default parameters share a pass, at best; the most of all models.
    """

    engine: Engine
    device: torch.device
    adapters: Mapping[str, AnyAdapter]
    served: frozenset[str]
    jobs_a_pass: int


def start_engine(
    catalogue: Catalogue,
    settings: WorkerSettings,
    on_pass: Callable[[Pass, float], None] = lambda _pass, _seconds: None,
) -> ReadyEngine:
    """
    Load the models that the settings name, and the device has room for, and make a picture with each.

    Args:
        on_pass: As `Engine` takes it.

    Raises:
        InvalidConfiguration: There is no such device, or a model cannot be loaded, or makes no picture or another; says
            which, and why.
    """
    placement = place(catalogue, settings)
    device, names = placement.device, placement.models
    return_large_pictures()
    if device.type == "cpu":
        keep_freed_memory()
    # A thread that computes gives the interpreter up in every call of torch, and waits that long to have it back while
    # another one encodes a file or signs an upload.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    # Each thread that computes brings an OpenMP team of its own; with two of them on as many processors, their members
    # wait for each other in the kernel (8.7 images/s instead of 14.4). So loading has a thread that ends, and its team.
    adapters = _in_a_thread(lambda: _load(catalogue, names, device, settings))
    capacity = Capacity(settings.cache_dir / "batch-sizes.json", describe(device, settings), device_clock(device))
    watch = Watch(settings.hang_s)
    engine = Engine(adapters, capacity, device=device, on_death=_leave_process, watch=watch, on_pass=on_pass)
    engine.start(lambda: _compute_with(settings.threads))
    sizes = [_warm_up(engine, adapters[name]) for name in names]
    return ReadyEngine(engine=engine, device=device, adapters=adapters, served=frozenset(names), jobs_a_pass=max(sizes))


def describe(device: torch.device, settings: WorkerSettings) -> str:
    """What batch sizes hold for: the device, and what computes on it."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} torch {torch.__version__}"
    return f"cpu of {os.cpu_count()} with {settings.threads or 'all'} threads, memory kept, torch {torch.__version__}"


def _load(
    catalogue: Catalogue, names: Iterable[str], device: torch.device, settings: WorkerSettings
) -> dict[str, PictureFamily[Any]]:
    _compute_with(settings.threads)
    cache_bytes = settings.embedding_cache_mib << 20
    copy_stored(catalogue, names, settings)
    adapters = {name: load_model(catalogue, catalogue.models[name], device, cache_bytes) for name in names}
    for adapter in adapters.values():
        check_edits(adapter)
        check_guidance(adapter)
        check_side_multiple(adapter, catalogue)
    return adapters


def _compute_with(threads: int) -> None:
    """
    Set the number of threads of the calling one's OpenMP team, where it is not to be torch's own choice.

    To set it to the same number would cost 5 % of a pass of 32 rows: torch then forbids MKL to take fewer.
    """
    if threads and threads != torch.get_num_threads():
        torch.set_num_threads(threads)


def _in_a_thread(call: Callable[[], T]) -> T:
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


def _warm_up(engine: Engine, adapter: PictureFamily[Any]) -> int:
    """Make a picture of default size, or edit one where the model does nothing else. Returns how many share a pass."""
    entry = adapter.entry
    steps = min(_WARM_UP_STEPS, entry.defaults.num_inference_steps)
    said = {"model": entry.name, "prompt": "a picture", "seed": 0, "num_inference_steps": steps}
    spec = GenerateSpec.model_validate(entry.defaults.model_dump() | said)
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


def _leave_process(exc: BaseException) -> None:
    """A device that failed stays so for this process: the parent starts another, and the table its jobs again."""
    log.error("leaving the process: its engine has failed", reason=repr(exc))
    os._exit(_DIED)
