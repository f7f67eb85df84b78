"""How long a job takes among others: a Poisson stream of short and long ones, in real time and in virtual time."""

from __future__ import annotations

import logging
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.generate import GenerateSpec
from jobs.process.settings import load_settings
from ops.bench.report.plot import Bars, plot
from ops.bench.report.report import Figure, Report, publish
from ops.bench.report.rounds import alternate, median_ratio
from ops.bench.report.surroundings import look_around
from ops.bench.workload import MODEL, requests, settle
from workers.bench.contenders import factories
from workers.bench.process import Remote
from workers.process.logs import configure_logging
from workers.process.settings import load_worker_settings

if TYPE_CHECKING:
    from workers.bench.streams.simulation import Arrival, Outcome

SINGLY, BATCHED, ENGINE = "tutorial worker", "request batches", "engine"
STEPS = (4, 12, 30)  # of a job, equally likely

# T(B) = launch + row · B, in seconds: a device that launches more than it computes, and one that is full with one row.
_SIMULATED = {"launch-bound": "launch_s=0.02 row_s=0.001", "saturated": "launch_s=0 row_s=0.01"}
_SIMULATED_JOBS = 2_000

# Of the engine's p95 and mean latency, as parts of the others'.
_REAL = "real time"
_TARGETS: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    _REAL: ({SINGLY: 0.5, BATCHED: 1.0}, {}),
    "launch-bound": ({SINGLY: 1.0, BATCHED: 1.0}, {}),
    "saturated": ({}, {SINGLY: 1.05}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to measure: rounds, jobs of a round, share of the tutorial worker's capacity, threads of torch."""

    rounds: int
    jobs: int
    load: float
    threads: int


def bench_latency(effort: Effort, folder: Path, console: Console) -> Report:
    """Measure, print, and write `latency.json` and `latency.png`."""
    configure_logging(logging.WARNING)
    surroundings = look_around(torch_threads=effort.threads or "torch's own choice")
    streams = {_REAL: _in_real_time(effort, console)}
    for name, times in _SIMULATED.items():
        with console.status(f"simulating {name} …"):
            streams[name] = _in_virtual_time(times, effort)
    load = f"Poisson at {effort.load:.0%} of one at a time's capacity"
    report = Report(
        name="latency",
        title=f"latency: {load}, steps {STEPS}, medians of {effort.rounds} rounds",
        figures=[each for name, outcomes in streams.items() for each in figures_of(name, outcomes)],
        surroundings=surroundings,
        rounds={
            name: {who: [asdict(each) for each in outcomes[who]] for who in outcomes}
            for name, outcomes in streams.items()
        },
    )
    panels = [
        Bars(title=f"p95, {name}", unit="s", rounds={who: [each.p95_s for each in outcomes[who]] for who in outcomes})
        for name, outcomes in streams.items()
    ]
    plot(panels, folder / "latency.png")
    publish(report, folder, console)
    return report


def figures_of(stream: str, outcomes: Mapping[str, Sequence[Outcome]]) -> list[Figure]:
    """Ratios of p95 and mean within each round, and the medians of both, of one stream."""
    p95 = {who: [each.p95_s for each in rounds] for who, rounds in outcomes.items()}
    mean = {who: [each.mean_s for each in rounds] for who, rounds in outcomes.items()}
    p95_targets, mean_targets = _TARGETS[stream]
    ratios = [
        Figure(
            what=f"{stream}: {what}, engine ÷ {other}",
            value=median_ratio(values[ENGINE], values[other]),
            unit="×",
            target=targets.get(other),
            at_most=True,
        )
        for what, values, targets in (("p95", p95, p95_targets), ("mean", mean, mean_targets))
        for other in (SINGLY, BATCHED)
    ]
    absolute = [
        Figure(what=f"{stream}: {what}, {who}", value=statistics.median(values[who]), unit="s")
        for what, values in (("p95", p95), ("mean", mean))
        for who in outcomes
    ]
    return ratios + absolute


def _in_real_time(effort: Effort, console: Console) -> dict[str, list[Outcome]]:
    models_file = load_settings().models_file
    catalogue = Catalogue.read(models_file)
    where, device = (models_file, MODEL, effort.threads), load_worker_settings().device
    with ExitStack() as stack:
        with console.status("loading the model three times …"):
            engine = stack.enter_context(Remote(factories.engine, *where))
            tutorial = stack.enter_context(Remote(factories.tutorial, *where, device))
            jobs_a_pass = engine.call("jobs_a_pass")
            batched = stack.enter_context(Remote(factories.request_batches, *where, jobs_a_pass, device))
        with console.status("measuring the capacity of one at a time …"):
            rate_per_s = effort.load / _mean_service_s(tutorial, catalogue)
        streams = [_stream(catalogue, rate_per_s, effort.jobs, seed) for seed in range(effort.rounds)]
        warm_up = _stream(catalogue, 100.0, 2 * len(STEPS), 10_000)
        remotes = {SINGLY: tutorial, BATCHED: batched, ENGINE: engine}
        for remote in remotes.values():
            remote.call("serve", warm_up)
        ways: dict[str, Callable[[int], Any]] = {
            who: lambda number, remote=remote: remote.call("serve", streams[number])  # type: ignore[misc]
            for who, remote in remotes.items()
        }
        return alternate(ways, effort.rounds, console)


def _mean_service_s(tutorial: Remote, catalogue: Catalogue, repeats: int = 4) -> float:
    specs = [
        spec
        for index in range(repeats)
        for steps in STEPS
        for spec in settle(catalogue, requests(1, seed=index, num_inference_steps=steps))
    ]
    tutorial.call("make", specs[: len(STEPS)])
    return float(tutorial.call("make", specs)) / len(specs)


def _stream(catalogue: Catalogue, rate_per_s: float, count: int, seed: int) -> list[Arrival]:
    from workers.bench.streams.simulation import poisson_arrivals

    specs = settle(catalogue, requests(count, seed))

    def spec_of(numbers: random.Random, index: int) -> GenerateSpec:
        return specs[index].model_copy(update={"num_inference_steps": numbers.choice(STEPS)})

    return poisson_arrivals(rate_per_s, count, spec_of, seed)


def _in_virtual_time(times: str, effort: Effort) -> dict[str, list[Outcome]]:
    """The same policies where passes take `times`; at equal seeds it gives equal results."""
    from workers.bench.streams.simulation import (
        best_rows,
        run_engine,
        run_one_at_a_time,
        run_request_batches,
        simulated,
    )
    from workers.families.simulated import DeviceTimes

    catalogue = Catalogue.read(load_settings().models_file)
    device = DeviceTimes.parse(times)
    model = simulated(catalogue.models[MODEL], device)
    (spec,) = settle(catalogue, requests(1, seed=0))
    max_rows = best_rows(model, spec)
    rows = model(lambda _seconds: None).begin(spec, None).rows
    service_s = statistics.mean(STEPS) * (device.launch_s + rows * device.row_s)
    outcomes: dict[str, list[Outcome]] = {SINGLY: [], BATCHED: [], ENGINE: []}
    for seed in range(effort.rounds):
        stream = _stream(catalogue, effort.load / service_s, _SIMULATED_JOBS, seed)
        outcomes[SINGLY].append(run_one_at_a_time(stream, model))
        outcomes[BATCHED].append(run_request_batches(stream, model, max_rows))
        outcomes[ENGINE].append(run_engine(stream, model))
    return outcomes
