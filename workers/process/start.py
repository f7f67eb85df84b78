"""Brings an engine up: models on the device, batch sizes measured, so that the first job finds everything warm."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
import torch

from jobs.catalogue.catalogue import Catalogue
from workers.engine.adapter import AnyAdapter
from workers.engine.capacity import Capacity
from workers.engine.denoiser import Pass
from workers.engine.engine import Engine
from workers.engine.streams import device_clock
from workers.engine.watch import Watch
from workers.process.allocator import keep_freed_memory, return_large_pictures
from workers.process.devices.own import place
from workers.process.loader import Loader, compute_with
from workers.process.residency.budget import Budget, budget_of
from workers.process.settings import WorkerSettings

log = structlog.get_logger()

_WARM_UP_STEPS = 2
_SWITCH_INTERVAL_S = 0.0005  # Python's default is ten times as long
_DIED = 70  # EX_SOFTWARE of sysexits.h


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyEngine:
    """
    A running engine.

    Attributes:
        adapters: Its models that are loaded, by name; `loader` changes it.
        served: Names of all models that it can run, loaded or not.
        budget: Of a device that cannot hold all of them; None where it does.
        jobs_a_pass: How many jobs of default parameters share a pass, at best; the most of all models that were loaded
            at the start.
    """

    engine: Engine
    device: torch.device
    adapters: Mapping[str, AnyAdapter]
    loader: Loader
    served: frozenset[str]
    budget: Budget | None
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
    device, budget = placement.device, budget_of(catalogue, placement, settings)
    names = list(placement.models) if budget is None else budget.first()
    return_large_pictures()
    if device.type == "cpu":
        keep_freed_memory()
    # A thread that computes gives the interpreter up in every call of torch, and waits that long to have it back while
    # another one encodes a file or signs an upload.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    adapters: dict[str, AnyAdapter] = {}
    capacity = Capacity(settings.cache_dir / "batch-sizes.json", describe(device, settings), device_clock(device))
    watch = Watch(settings.hang_s)
    in_turn = any(catalogue.models[name].offload for name in placement.models)
    engine = Engine(
        adapters, capacity, device=device, in_turn=in_turn, on_death=_leave_process, watch=watch, on_pass=on_pass
    )
    loader = Loader(catalogue, settings, device, engine, adapters)
    loaded = loader.read(names)
    engine.start(lambda: compute_with(settings.threads))
    sizes = [loader.put(each) for each in loaded]
    return ReadyEngine(
        engine=engine,
        device=device,
        adapters=adapters,
        loader=loader,
        served=frozenset(placement.models),
        budget=budget,
        jobs_a_pass=max(sizes, default=1),
    )


def describe(device: torch.device, settings: WorkerSettings) -> str:
    """What batch sizes hold for: the device, and what computes on it."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} torch {torch.__version__}"
    return f"cpu of {os.cpu_count()} with {settings.threads or 'all'} threads, memory kept, torch {torch.__version__}"


def _leave_process(exc: BaseException) -> None:
    """A device that failed stays so for this process: the parent starts another, and the table its jobs again."""
    log.error("leaving the process: its engine has failed", reason=repr(exc))
    os._exit(_DIED)
