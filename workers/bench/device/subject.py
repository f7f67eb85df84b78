"""One model on one device: its passes, and the ways to make pictures with it. Written for a GPU; a CPU does too."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from jobs.catalogue.entry import Model
from jobs.kinds.generate import GenerateSpec
from workers.bench.contenders.tutorial import TutorialWorker
from workers.bench.device.peak import forward_flops
from workers.bench.passes import pass_seconds
from workers.bench.published.stable_diffusion import spec_of
from workers.engine.capacity import Capacity
from workers.engine.engine import Engine
from workers.engine.streams import device_clock
from workers.engine.ticket import Ticket
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.stable_diffusion import StableDiffusion
from workers.families.stable_diffusion_xl import StableDiffusionXL

_CACHE_BYTES = 256 << 20
_PASSES_FULL = 4  # of jobs, for the engine: so many that the last pictures, decoded with nothing beside them, are few
_ADAPTERS = {"stable-diffusion": StableDiffusion, "stable-diffusion-xl": StableDiffusionXL}

Compiler = Callable[[Any], Any]
COMPILERS: dict[str, Compiler] = {
    "torch.compile": torch.compile,
    "torch.compile, CUDA graphs": partial(torch.compile, mode="reduce-overhead"),
}

OVERLAPPED, IN_TURNS = "engine", "engine, decode in turns"
EAGER = "one at a time, eager"


@dataclass(frozen=True, slots=True, kw_only=True)
class PassFigure:
    """A pass of `rows` rows: `seconds`, and how many floating-point operations a second that makes."""

    rows: int
    seconds: float
    flops_per_s: float


class Subject:
    """
    A pipeline that is measured.

    Args:
        pipeline: On its device; a `StableDiffusionPipeline` or a `StableDiffusionXLPipeline`.
        entry: What the catalogue would say of it; its defaults are what is measured.
        device: Where the pipeline is.
        cache_file: Where the engines share their measured batch size, so that they differ in nothing else.

    Attributes:
        skipped: Why a way to make pictures could not be measured, by its name.
    """

    def __init__(self, pipeline: Any, entry: Model, device: torch.device, cache_file: Path) -> None:
        self._pipeline = pipeline
        self._entry = entry
        self._device = device
        self._cache_file = cache_file
        self._adapter = _ADAPTERS[entry.family](entry, pipeline, EmbeddingCache(_CACHE_BYTES))
        self._seeds = itertools.count()
        self._running: list[Engine] = []
        self.skipped: dict[str, str] = {}

    def passes(self, counts: Sequence[int], tries: int = 5) -> list[PassFigure]:
        """T(B), for passes of each of `counts` jobs, as far as memory goes."""
        spec = self._specs(1)[0]
        run = self._adapter.begin(spec, self._adapter.encode([spec])[0])
        flops = forward_flops(self._pipeline.unet, run.inputs()) / run.rows
        seconds = pass_seconds(self._adapter, run, counts, device_clock(self._device), tries)
        return [PassFigure(rows=rows, seconds=took, flops_per_s=rows * flops / took) for rows, took in seconds.items()]

    def contenders(self, compilers: Mapping[str, Compiler], single_images: int) -> dict[str, Callable[[], float]]:
        """
        The ways to make pictures, warm; each call returns images per second.

        Args:
            compilers: Ways to compile the UNet for the loop of single images.
            single_images: How many that loop makes in a call.
        """
        # The engines first: they measure their batch size, and compiled graphs take memory.
        engines = {OVERLAPPED: self._engine(overlapped=True), IN_TURNS: self._engine(overlapped=False)}
        pipelines = {EAGER: self._pipeline}
        for name, compiler in compilers.items():
            pipelines[f"one at a time, {name}"] = self._compiled(compiler)
        return self._singles(pipelines, single_images) | engines

    def close(self) -> None:
        """Stop the engines and give the memory back."""
        for engine in self._running:
            engine.stop()
        torch.compiler.reset()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _compiled(self, compiler: Compiler) -> Any:
        twin = copy.copy(self._pipeline)
        twin.unet = compiler(self._pipeline.unet)
        return twin

    def _singles(self, pipelines: Mapping[str, Any], images: int) -> dict[str, Callable[[], float]]:
        ways: dict[str, Callable[[], float]] = {}
        for name, pipeline in pipelines.items():
            worker = TutorialWorker(pipeline)
            try:
                worker.make(self._specs(1))  # Compiles, where it does.
            except Exception as exc:
                if name == EAGER:
                    raise
                self.skipped[name] = str(exc)  # A machine without a compiler can still measure the rest.
                continue
            ways[name] = partial(self._rate, worker, images)
        return ways

    def _rate(self, worker: TutorialWorker, images: int) -> float:
        return images / worker.make(self._specs(images))

    def _engine(self, *, overlapped: bool) -> Callable[[], float]:
        capacity = Capacity(self._cache_file, str(self._device), device_clock(self._device))
        engine = Engine({self._entry.name: self._adapter}, capacity, device=self._device)
        if overlapped:
            engine.start()
            self._running.append(engine)
        (warm_up,) = _run(engine, self._specs(1), in_turns=not overlapped)
        jobs = _PASSES_FULL * warm_up.jobs_a_pass

        def make() -> float:
            started = time.perf_counter()
            _run(engine, self._specs(jobs), in_turns=not overlapped)
            return jobs / (time.perf_counter() - started)

        make()  # Batches of the sizes that it will see.
        return make

    def _specs(self, count: int) -> list[GenerateSpec]:
        return [spec_of(self._entry, next(self._seeds)) for _ in range(count)]


def _run(engine: Engine, specs: Sequence[GenerateSpec], *, in_turns: bool) -> list[Ticket[Any]]:
    """Hand all jobs in at once, and wait for them or run the engine until they are done."""
    tickets = [engine.submit(spec.model, spec) for spec in specs]
    while in_turns and not all(ticket.is_over for ticket in tickets):
        engine.turn()
    for ticket in tickets:
        ticket.result()
    return tickets


def find_device() -> torch.device | None:
    """The GPU, if torch sees one."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else None


def describe(device: torch.device) -> dict[str, Any]:
    """What a reader has to know of a GPU to compare with his own."""
    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
