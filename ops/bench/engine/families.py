"""Families of flow-matching transformers: T(B) of each in tiny form, and how streams of mixed jobs fare by it."""

from __future__ import annotations

import logging
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

from jobs.kinds.generate import GenerateSpec
from ops.bench.report.plot import Bars, Curves, plot
from ops.bench.report.report import Figure, Report, publish
from ops.bench.report.rounds import median_ratio
from ops.bench.report.surroundings import look_around
from workers.bench.streams.ways import BATCHED, SINGLY, STEPWISE, UNLIKE
from workers.process.logs import configure_logging

if TYPE_CHECKING:  # torch is imported where it computes.
    from workers.bench.streams.simulation import Outcome
    from workers.bench.streams.timed_model import KnownJobs, PassSeconds

MEASURED, LAUNCH_BOUND, SATURATED = "as measured", "launch-bound", "saturated"

_ROWS = (1, 2, 4, 8, 16, 32)
_FIGURES = ("images_per_s", "mean_s", "p50_s", "p95_s")

# What is compared: of which device, step batching with what, and at most which ratio is hoped for.
_RATIOS = (
    (MEASURED, "p95", BATCHED, None),
    (LAUNCH_BOUND, "p95", BATCHED, 0.5),
    (LAUNCH_BOUND, "p95", UNLIKE, None),
    (SATURATED, "mean", SINGLY, 1.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to measure: rounds, jobs of a round's stream, share of what full passes do, threads of torch."""

    rounds: int
    jobs: int
    load: float
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """How streams fared on a device: rows of a full pass, jobs a second that came, and what each way made, by round."""

    rows: int
    rate_per_s: float
    outcomes: Mapping[str, Sequence[Outcome]]

    def rounds(self, way: str, figure: str) -> list[float]:
        """A figure of `Outcome`, of each round."""
        return [getattr(each, figure) for each in self.outcomes[way]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One model: T(B), in seconds by rows, and its streams by device."""

    name: str
    pass_s: Mapping[int, float]
    streams: Mapping[str, Streams]


def bench_families(effort: Effort, folder: Path, console: Console) -> Report:
    """Measure, print, and write `families.json` and `families.png`."""
    for library in (
        "TRANSFORMERS",
        "DIFFUSERS",
    ):  # They advise on what is not used here, and warn of texts that are cut.
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    from workers.bench.tiny_families import NAMES, compute_as_worker

    configure_logging(logging.WARNING)
    surroundings = look_around(torch_threads=compute_as_worker(effort.threads))
    measured = []
    for name in NAMES:
        with console.status(f"{name} …"):
            measured.append(_measure(name, effort))
    report = Report(
        name="families",
        title=f"families: {effort.jobs} jobs at {effort.load:.0%} load, medians of {effort.rounds} rounds",
        figures=[figure for each in measured for figure in figures_of(each)],
        surroundings=surroundings,
        rounds={each.name: _rounds(each) for each in measured},
    )
    for table in (pass_table(measured), *(stream_table(device, measured) for device in measured[0].streams)):
        console.print(table)
    plot(list(_panels(measured)), folder / "families.png")
    publish(report, folder, console)
    return report


def figures_of(measured: Measured) -> list[Figure]:
    """The ratios of one model."""
    figures = []
    for device, what, other, target in _RATIOS:
        streams = measured.streams[device]
        ours, theirs = (streams.rounds(way, f"{what}_s") for way in (STEPWISE, other))
        ratio = median_ratio(ours, theirs)
        shown = f"{measured.name}, {device}: {what} ÷ {other}"
        figures.append(Figure(what=shown, value=ratio, unit="×", target=target, at_most=True))
    return figures


def pass_table(measured: Sequence[Measured]) -> Table:
    """T(B) of each model."""
    table = Table("T(B), ms", *(f"B = {rows}" for rows in measured[0].pass_s), title="passes", title_justify="left")
    for each in measured:
        table.add_row(each.name, *(f"{1000 * seconds:.3g}" for seconds in each.pass_s.values()))
    return table


def stream_table(device: str, measured: Sequence[Measured]) -> Table:
    """What became of each model's streams on a device."""
    ways = list(measured[0].streams[device].outcomes)
    title = f"{device}: rows of a full pass, jobs a second that came; images/s, p50 and p95 in seconds"
    table = Table(Column("model", no_wrap=True), "rows", "jobs/s", *ways, title=title, title_justify="left")
    for each in measured:
        streams = each.streams[device]
        cells = (_cell(streams, way) for way in ways)
        table.add_row(each.name, str(streams.rows), f"{streams.rate_per_s:.3g}", *cells)
    return table


def _cell(streams: Streams, way: str) -> str:
    figures = (statistics.median(streams.rounds(way, figure)) for figure in ("images_per_s", "p50_s", "p95_s"))
    return " ".join(f"{figure:.3g}" for figure in figures)


def _measure(name: str, effort: Effort) -> Measured:
    from workers.bench.tiny_families import measured_passes, open_family

    family = open_family(name)
    from workers.bench.streams import mixed
    from workers.bench.streams.timed_model import KnownJobs, between

    known, jobs = KnownJobs(family), mixed.mixed_jobs(family.entry)
    pass_s = measured_passes(family, jobs[1], _ROWS)
    devices = {
        MEASURED: between(pass_s),
        LAUNCH_BOUND: mixed.launch_bound(pass_s[1]),
        SATURATED: mixed.saturated(pass_s[1]),
    }
    streams = {device: _serve(known, jobs, takes_s, effort) for device, takes_s in devices.items()}
    return Measured(name=name, pass_s=pass_s, streams=streams)


def _serve(known: KnownJobs, jobs: Sequence[GenerateSpec], pass_s: PassSeconds, effort: Effort) -> Streams:
    from workers.bench.streams import mixed

    rows = mixed.rows_of_a_pass(known, jobs, pass_s)
    rate_per_s = effort.load * mixed.capacity(known, jobs, pass_s, rows)
    outcomes: dict[str, list[Outcome]] = {}
    for seed in range(effort.rounds):
        arrivals = mixed.mixed_arrivals(jobs, rate_per_s, effort.jobs, seed)
        for way, outcome in mixed.compete(known, arrivals, pass_s, rows).items():
            outcomes.setdefault(way, []).append(outcome)
    return Streams(rows=rows, rate_per_s=rate_per_s, outcomes=outcomes)


def _rounds(measured: Measured) -> dict[str, Any]:
    streams = {
        device: {
            "rows_of_a_pass": each.rows,
            "jobs_per_s": each.rate_per_s,
            "outcomes": {way: {figure: each.rounds(way, figure) for figure in _FIGURES} for way in each.outcomes},
        }
        for device, each in measured.streams.items()
    }
    return {"pass_seconds_by_rows": dict(measured.pass_s), "streams": streams}


def _panels(measured: Sequence[Measured]) -> Iterator[Bars | Curves]:
    yield Curves(title="T(B)", x="rows of a pass", y="seconds", series={each.name: each.pass_s for each in measured})
    for device in measured[0].streams:
        of_each = {each.name: each.streams[device] for each in measured}
        ratios = {
            name: [a / b for a, b in zip(*(streams.rounds(way, "p95_s") for way in (STEPWISE, BATCHED)), strict=True)]
            for name, streams in of_each.items()
        }
        yield Bars(title=f"p95, {STEPWISE} ÷ {BATCHED}, {device}", unit="×", rounds=ratios)
