"""Published models at their real sizes on a GPU: what a pass takes, and how near the engine comes to the device."""

from __future__ import annotations

import logging
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ops.bench.report.plot import Bars, Curves, plot
from ops.bench.report.report import Figure, Report, publish
from ops.bench.report.rounds import alternate, median_ratio
from ops.bench.report.surroundings import look_around
from workers.process.logs import configure_logging

if TYPE_CHECKING:
    from workers.bench.device.subject import PassFigure

NO_GPU = "torch sees no CUDA device here, so there is nothing to measure."

_JOBS_IN_A_PASS = (1, 2, 4, 8, 16, 32)
_SINGLE_IMAGES = 3
_DTYPE = "bfloat16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """
    One model at one size.

    Attributes:
        rates: Images per second by round, for each way to make them.
        skipped: Why a way is not among them.
    """

    name: str
    passes: Sequence[PassFigure]
    rates: Mapping[str, Sequence[float]]
    skipped: Mapping[str, str]


def bench_gpu(folder: Path, console: Console, *, rounds: int, steps: int) -> Report | None:
    """Measure, print, and write `gpu.json` and `gpu.png`; without a GPU say so, and write nothing."""
    # Its import advises on image processors, never used here.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from workers.bench.device.peak import measure_peak, sheet_flops_per_s
    from workers.bench.device.subject import describe, find_device

    configure_logging(logging.WARNING)
    device = find_device()
    if device is None:
        console.print(NO_GPU)
        return None
    gpu = describe(device)
    peak, sheet = measure_peak(device, _DTYPE), sheet_flops_per_s(gpu["name"])
    surroundings = look_around(gpu=gpu, dtype=_DTYPE, measured_peak_flops_per_s=peak, sheet_peak_flops_per_s=sheet)
    measured = [_measure(*case, device, console, rounds, steps) for case in _cases()]
    figures = [Figure(what="peak of a large product", value=peak / 1e12, unit="TFLOP/s")]
    figures += [Figure(what="peak of the data sheet", value=sheet / 1e12, unit="TFLOP/s")] if sheet else []
    report = Report(
        name="gpu",
        title=f"{gpu['name']}: {steps} steps, random weights, {_DTYPE}, medians of {rounds} rounds",
        figures=figures + [figure for each in measured for figure in figures_of(each, peak, sheet)],
        surroundings=surroundings,
        rounds={each.name: asdict(each) for each in measured},
    )
    plot([panel for each in measured for panel in _panels(each)], folder / "gpu.png")
    publish(report, folder, console)
    return report


def figures_of(measured: Measured, peak: float, sheet: float | None) -> list[Figure]:
    """The lines of one model: ratios, images per second, passes and their share of the peaks (in FLOP/s)."""
    from workers.bench.device.subject import IN_TURNS, OVERLAPPED

    name, rates = measured.name, measured.rates
    singles = {way: values for way, values in rates.items() if way not in (IN_TURNS, OVERLAPPED)}
    best = max(singles, key=lambda way: statistics.median(singles[way]))
    engine = rates[OVERLAPPED]
    ratios = [
        Figure(what=f"{name}: engine ÷ {best}", value=median_ratio(engine, rates[best]), unit="×"),
        Figure(what=f"{name}: decode overlapped ÷ in turns", value=median_ratio(engine, rates[IN_TURNS]), unit="×"),
    ]
    absolute = [
        Figure(what=f"{name}: {way}", value=statistics.median(values), unit="images/s") for way, values in rates.items()
    ]
    return ratios + absolute + [figure for each in measured.passes for figure in _pass_figures(name, each, peak, sheet)]


def _pass_figures(name: str, each: PassFigure, peak: float, sheet: float | None) -> list[Figure]:
    what = f"{name}: a pass of {each.rows} rows"
    figures = [
        Figure(what=what, value=1000 * each.seconds, unit="ms"),
        Figure(what=f"{what}, of the measured peak", value=100 * each.flops_per_s / peak, unit="%"),
    ]
    if sheet:
        figures.append(Figure(what=f"{what}, of the data sheet", value=100 * each.flops_per_s / sheet, unit="%"))
    return figures


def _cases() -> list[tuple[Any, int]]:
    from workers.bench.published.stable_diffusion import STABLE_DIFFUSION_15, STABLE_DIFFUSION_XL

    return [(STABLE_DIFFUSION_15, 512), (STABLE_DIFFUSION_XL, 512), (STABLE_DIFFUSION_XL, 1024)]


def _measure(published: Any, side: int, device: Any, console: Console, rounds: int, steps: int) -> Measured:
    from workers.bench.device.subject import COMPILERS, Subject
    from workers.bench.published.stable_diffusion import build, entry_of

    entry = entry_of(published, side, steps, _DTYPE)
    with TemporaryDirectory(prefix="imagemill-bench-") as cache:
        with console.status(f"{entry.name}: building …"):
            subject = Subject(build(published, device, _DTYPE), entry, device, Path(cache) / "sizes.json")
        try:
            with console.status(f"{entry.name}: timing passes, compiling …"):
                passes = subject.passes(_JOBS_IN_A_PASS)
                ways = subject.contenders(COMPILERS, _SINGLE_IMAGES)
            in_turn = {name: lambda _number, way=way: way() for name, way in ways.items()}
            rates = alternate(in_turn, rounds, console)
        finally:
            subject.close()
    return Measured(name=entry.name, passes=passes, rates=rates, skipped=subject.skipped)


def _panels(measured: Measured) -> list[Bars | Curves]:
    throughput = {each.rows: each.rows / each.seconds for each in measured.passes}
    return [
        Bars(title=measured.name, unit="images/s", rounds=measured.rates),
        Curves(title=f"{measured.name}: B / T(B)", x="rows of a pass", y="rows/s", series={"rows": throughput}),
    ]
