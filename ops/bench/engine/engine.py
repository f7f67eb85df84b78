"""How much of the hardware the engine turns into pictures, against the tutorials' worker and against a bare loop."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.generate import GenerateSpec
from jobs.process.settings import load_settings
from ops.bench.report.plot import Bars, Curves, plot
from ops.bench.report.report import Figure, Report, publish
from ops.bench.report.rounds import alternate, median_ratio
from ops.bench.report.surroundings import look_around
from ops.bench.workload import MODEL, requests, settle
from workers.bench.contenders import factories
from workers.bench.process import Remote
from workers.process.settings import load_worker_settings

_JOBS_IN_A_PASS = (1, 2, 4, 8, 16, 32)
_WARM_UP_SEED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to measure: rounds, jobs of a round (all at once in the engine), steps of a job, threads of torch."""

    rounds: int
    jobs: int
    steps: int
    threads: int


def bench_engine(effort: Effort, folder: Path, console: Console) -> Report:
    """Measure, print, and write `engine.json` and `engine.png`."""
    models_file = load_settings().models_file
    where, device = (models_file, MODEL, effort.threads), load_worker_settings().device
    surroundings = look_around()
    with ExitStack() as stack:
        with console.status("loading the model three times …"):
            engine = stack.enter_context(Remote(factories.engine, *where))
            tutorial = stack.enter_context(Remote(factories.tutorial, *where, device))
            bare = stack.enter_context(Remote(factories.bare, *where, device))
        surroundings["torch_threads"] = tutorial.call("threads")
        jobs_a_pass = engine.call("jobs_a_pass")

        def jobs(number: int) -> list[GenerateSpec]:
            requested = requests(effort.jobs, seed=number, num_inference_steps=effort.steps)
            return settle(Catalogue.read(models_file), requested)

        ways: dict[str, Callable[[int], float]] = {
            "tutorial worker": lambda number: effort.jobs / tutorial.call("make", jobs(number)),
            "engine": lambda number: effort.jobs / engine.call("make", jobs(number)),
            "bare loop": lambda number: effort.jobs / bare.call("make", jobs(number), jobs_a_pass),
        }
        for way in ways.values():
            way(_WARM_UP_SEED)
        rates = alternate(ways, effort.rounds, console)
        with console.status("timing passes …"):
            pass_s = bare.call("pass_seconds", jobs(0)[0], _JOBS_IN_A_PASS)
    report = Report(
        name="engine",
        title=f"engine: {effort.jobs} jobs at once, {effort.steps} steps, medians of {effort.rounds} rounds",
        figures=_figures(rates, jobs_a_pass, pass_s),
        surroundings=surroundings,
        rounds={"images_per_s": rates, "pass_seconds_by_rows": pass_s, "jobs_a_pass": jobs_a_pass},
    )
    _plot(rates, pass_s, folder)
    publish(report, folder, console)
    return report


def _figures(rates: dict[str, list[float]], jobs_a_pass: int, pass_s: dict[int, float]) -> list[Figure]:
    engine, tutorial, bare = (rates[name] for name in ("engine", "tutorial worker", "bare loop"))
    return [
        Figure(what="engine ÷ tutorial worker", value=median_ratio(engine, tutorial), unit="×", target=2.0),
        Figure(what="engine ÷ bare loop", value=median_ratio(engine, bare), unit="×", target=0.92),
        *(Figure(what=name, value=statistics.median(values), unit="images/s") for name, values in rates.items()),
        Figure(what="jobs that share a pass", value=jobs_a_pass),
        *(Figure(what=f"a pass of {rows} rows", value=1000 * seconds, unit="ms") for rows, seconds in pass_s.items()),
    ]


def _plot(rates: dict[str, list[float]], pass_s: dict[int, float], folder: Path) -> None:
    throughput = {rows: rows / seconds for rows, seconds in pass_s.items()}
    panels: list[Bars | Curves] = [
        Bars(title="images per second", unit="images/s", rounds=rates),
        Curves(title="T(B)", x="rows of a pass", y="seconds", series={"a pass": pass_s}),
        Curves(title="B / T(B)", x="rows of a pass", y="rows/s", series={"rows": throughput}),
    ]
    plot(panels, folder / "engine.png")
