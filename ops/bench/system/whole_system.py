"""
What the system around the engine costs: throughput under sustained load, and the time added to a single job.

The engine alone is one, over all processors. Where the system's worker has several processes, each with an engine on a
part of them, these are measured alone as well.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from rich.console import Console
from rich.progress import track

from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.generate import GenerateSpec
from jobs.process.settings import load_settings
from ops.bench.report.plot import Bars, plot
from ops.bench.report.report import Figure, Report, publish
from ops.bench.report.rounds import LEAST_BUNCHES, alternate, median_ratio, sustained_rate
from ops.bench.report.surroundings import look_around
from ops.bench.system.system import system_for_a_while
from ops.bench.workload import MODEL, requests, settle, succeeded
from ops.stack import worker_processes
from producer import Client
from workers.bench.contenders import factories
from workers.bench.process import Remote
from workers.process.parent.launch import threads_of_each

SYSTEM, ALONE, PARTS = "whole system", "engine alone", "the system's engines alone"
_OWN_STAGES = ("encode", "generate")  # of a record's timings: the engine's

_PATIENCE_S = 600.0  # with a job that does not end, beyond the one before it

_SIMULATED = """
[models.simulated]
source = "{times}"
revision = "1"
dtype = "float32"
family = "simulated"
schedulers = ["default"]
defaults = {{ width = 128, height = 128, num_inference_steps = 20, guidance_scale = 3.0, scheduler = "default" }}
limits = {{ min_side = 64, max_side = 256, max_steps = 200, max_n = 16 }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """
    How long to measure.

    Attributes:
        jobs, simulated_jobs: Of a round, all in the queue at once; with the built-in model, and simulated.
        simulated: The simulated device's times, as a catalogue's `source`.
        singles: Jobs that are submitted alone.
        threads: Of torch.
    """

    rounds: int
    jobs: int
    simulated_jobs: int
    simulated: str
    singles: int
    steps: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """One job with nothing beside it: seconds in all as its caller sees it, and its record's timings."""

    took_s: float
    timings: dict[str, float]

    @property
    def added_s(self) -> float:
        """What is not the engine's own."""
        return self.took_s - sum(self.timings[stage] for stage in _OWN_STAGES)


def bench_system(effort: Effort, folder: Path, console: Console) -> Report:
    """Measure, print, and write `system.json` and `system.png`."""
    surroundings = look_around(torch_threads=effort.threads or "torch's own choice")
    real, singles = _with_built_in_model(effort, console)
    simulated = _with_simulated_device(effort, console)
    report = Report(
        name="system",
        title=f"system: sustained load of {effort.steps} steps, medians of {effort.rounds} rounds",
        figures=_figures(real, simulated, singles),
        surroundings=surroundings,
        rounds={
            "built-in model, images_per_s": real,
            f"simulated {effort.simulated}, images_per_s": simulated,
            "single jobs": [{"took_s": each.took_s, "added_s": each.added_s, **each.timings} for each in singles],
        },
    )
    panels = [
        Bars(title="built-in model", unit="images/s", rounds=real),
        Bars(title=f"simulated device, {effort.simulated}", unit="images/s", rounds=simulated),
        Bars(title="added to a single job", unit="ms", rounds={"": [1000 * each.added_s for each in singles]}),
    ]
    plot(panels, folder / "system.png")
    publish(report, folder, console)
    return report


def _with_built_in_model(effort: Effort, console: Console) -> tuple[dict[str, list[float]], list[Single]]:
    models_file = load_settings().models_file
    variables = {"IMAGEMILL_WORKER_MODELS": MODEL}
    return _measure(effort, models_file, MODEL, variables, console, jobs=effort.jobs, singles=effort.singles)


def _with_simulated_device(effort: Effort, console: Console) -> dict[str, list[float]]:
    with TemporaryDirectory(prefix="imagemill-bench-") as folder:
        models_file = Path(folder) / "models.toml"
        models_file.write_text(_SIMULATED.format(times=effort.simulated), "utf-8")
        variables = {"IMAGEMILL_MODELS_FILE": str(models_file), "IMAGEMILL_WORKER_MODELS": "simulated"}
        return _measure(effort, models_file, "simulated", variables, console, jobs=effort.simulated_jobs, singles=0)[0]


def _measure(
    effort: Effort,
    models_file: Path,
    model: str,
    variables: dict[str, str],
    console: Console,
    *,
    jobs: int,
    singles: int,
) -> tuple[dict[str, list[float]], list[Single]]:
    with TemporaryDirectory(prefix="imagemill-bench-") as cache:
        own = {"IMAGEMILL_WORKER_THREADS": str(effort.threads), "IMAGEMILL_WORKER_CACHE_DIR": cache}
        where = (models_file, model)
        with ExitStack() as stack:
            client = stack.enter_context(system_for_a_while(console, variables | own))
            # Of the same cache, so that equally many share passes where the number of threads is the same.
            engine = stack.enter_context(_Engines(1, *where, effort.threads, Path(cache)))
            requested = partial(requests, model=model, num_inference_steps=effort.steps)
            alone = [
                _run_alone(client, each) for each in track(requested(singles, seed=0), "single jobs", console=console)
            ]
            contestants = {ALONE: engine}
            if (processes := worker_processes(load_settings(models_file=models_file))) > 1:
                threads = effort.threads or threads_of_each(processes)
                contestants[PARTS] = stack.enter_context(_Engines(processes, *where, threads, Path(cache)))
            bunch = max(each.jobs_a_pass for each in contestants.values())
            jobs = max(jobs, LEAST_BUNCHES * bunch)
            ways: dict[str, Callable[[int], float]] = {
                SYSTEM: lambda number: _rate_of_system(client, requested(jobs, seed=number), bunch)
            }
            for name, each in contestants.items():
                ways[name] = partial(_rate_of_engines, each, client.parts.catalogue, partial(requested, jobs))
            return alternate(ways, effort.rounds, console), alone


class _Engines:
    """
    Engines, each in a process of its own, and nothing else.

    Attributes:
        jobs_a_pass: Of all together.
    """

    def __init__(self, count: int, *where: Any) -> None:
        with ExitStack() as stack:
            self._remotes = [stack.enter_context(Remote(factories.engine, *where)) for _ in range(count)]
            self._sizes = [int(each.call("jobs_a_pass")) for each in self._remotes]
            self._stack = stack.pop_all()
        self.jobs_a_pass = sum(self._sizes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def rate(self, specs: list[GenerateSpec]) -> float:
        """Twice as many jobs as share a pass are in each engine: the next are there when one leaves."""

        def sustain(number: int) -> list[float]:
            share = specs[number :: len(self._remotes)]
            finished_at: list[float] = self._remotes[number].call("sustain", share, 2 * self._sizes[number])
            return finished_at

        with ThreadPoolExecutor(len(self._remotes)) as threads:
            finished_at = [at for each in threads.map(sustain, range(len(self._remotes))) for at in each]
        return sustained_rate(finished_at, self.jobs_a_pass)


def _run_alone(client: Client, request: dict[str, Any]) -> Single:
    started = time.perf_counter()
    record = succeeded(client.submit(**request).wait(_PATIENCE_S))
    return Single(took_s=time.perf_counter() - started, timings=record.timings)


def _rate_of_system(client: Client, requested: list[dict[str, Any]], jobs_a_pass: int) -> float:
    """All jobs wait in the queue from the start, so the engine is never short of them."""
    records = [succeeded(job.wait(_PATIENCE_S)) for job in client.submit_many(requested)]
    return sustained_rate([record.ended_at or 0 for record in records], jobs_a_pass)


def _rate_of_engines(
    engines: _Engines, catalogue: Catalogue, requested: Callable[..., list[dict[str, Any]]], number: int
) -> float:
    return engines.rate(settle(catalogue, requested(seed=number)))


def _figures(real: dict[str, list[float]], simulated: dict[str, list[float]], singles: list[Single]) -> list[Figure]:
    def median_ms(seconds: list[float]) -> float:
        return 1000 * statistics.median(seconds)

    def ratio(what: str, rates: dict[str, list[float]], target: float) -> list[Figure]:
        shares = [
            Figure(
                what=f"system ÷ {name}, {what}",
                value=median_ratio(rates[SYSTEM], rates[name]),
                unit="×",
                target=target,
            )
            for name in rates
            if name != SYSTEM
        ]
        absolute = ((f"{name}, {what}", statistics.median(values)) for name, values in rates.items())
        return shares + [Figure(what=name, value=value, unit="images/s") for name, value in absolute]

    added = median_ms([each.added_s for each in singles])
    stages = list(dict.fromkeys(stage for each in singles for stage in each.timings))
    return [
        *ratio("built-in model", real, 0.90),
        *ratio("simulated device", simulated, 0.97),
        Figure(what="added to a single job", value=added, unit="ms", target=30, at_most=True),
        Figure(what="single job in all", value=median_ms([each.took_s for each in singles]), unit="ms"),
        *(
            Figure(what=f"… {stage}", value=median_ms([each.timings.get(stage, 0) for each in singles]), unit="ms")
            for stage in stages
        ),
    ]
