"""The built-in models side by side, and what several sizes in one pass are worth to the one that takes them."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
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
from ops.bench.truth.subjects import SUBJECTS
from ops.bench.workload import requests, settle
from workers.bench.contenders import factories
from workers.bench.process import Remote

if TYPE_CHECKING:
    from workers.bench.streams.simulation import Arrival, Outcome

UNET, FLOW = "shapes", "shapes-flow"
MIXED, APART = "sizes mixed", "one size a pass"

_HALF = 0.5  # of the time of a picture is what the newer model is to take
_PICTURES = 3  # of a turn, one after the other
_WARM_UP_SEED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to measure: rounds, jobs of a round's stream, its load as a share of what the engine does at once."""

    rounds: int
    jobs: int
    load: float


def bench_builtin(effort: Effort, folder: Path, console: Console) -> Report:
    """Measure, print, and write `builtin.json` and `builtin.png`."""
    models_file = load_settings().models_file
    catalogue = Catalogue.read(models_file)
    surroundings = look_around(torch_threads=1)
    with ExitStack() as stack:
        with console.status("loading the models …"):
            engines = {name: stack.enter_context(Remote(factories.engine, models_file, name, 1)) for name in SUBJECTS}
            apart = stack.enter_context(Remote(factories.engine_of_one_size, models_file, FLOW, 1))
        pictures = alternate(
            {name: partial(_picture_s, engine, catalogue, name) for name, engine in engines.items()},
            effort.rounds,
            console,
        )
        ways = {MIXED: engines[FLOW], APART: apart}
        rate_per_s = effort.load * _capacity(engines[FLOW], catalogue, effort.jobs)
        streams = alternate(
            {name: partial(_serve, engine, catalogue, effort.jobs, rate_per_s) for name, engine in ways.items()},
            effort.rounds,
            console,
        )
    report = Report(
        name="builtin",
        title=f"built-in models, one thread, medians of {effort.rounds} rounds; {rate_per_s:.1f} jobs/s of 3 sizes",
        figures=[*_pictures(pictures), *streams_of(streams)],
        surroundings=surroundings,
        rounds={
            "picture_s": pictures,
            "streams": {name: [asdict(each) for each in outcomes] for name, outcomes in streams.items()},
        },
    )
    _plot(pictures, streams, folder)
    publish(report, folder, console)
    return report


def mixed_sizes(catalogue: Catalogue, count: int, seed: int) -> list[GenerateSpec]:
    """Jobs of the flow model with distinct captions, each of one of its sizes, at random."""
    numbers = random.Random(seed)
    sizes = [numbers.choice(SUBJECTS[FLOW].sizes) for _ in range(count)]
    requested = requests(count, seed, model=FLOW)
    return settle(
        catalogue,
        [each | {"width": width, "height": height} for each, (width, height) in zip(requested, sizes, strict=True)],
    )


def streams_of(outcomes: Mapping[str, Sequence[Outcome]]) -> list[Figure]:
    """Images a second and latencies of both ways, and their ratios within each round."""
    figures = []
    for what, unit in (("images_per_s", "images/s"), ("p95_s", "s"), ("mean_s", "s")):
        values = {name: [getattr(each, what) for each in rounds] for name, rounds in outcomes.items()}
        label = what.removesuffix("_s") if unit == "s" else "images/s"
        ratio = median_ratio(values[MIXED], values[APART])
        figures += [Figure(what=f"{label}, {MIXED} ÷ {APART}", value=ratio, unit="×")]
        figures += [
            Figure(what=f"{label}, {name}", value=statistics.median(each), unit=unit) for name, each in values.items()
        ]
    return figures


def _picture_s(engine: Remote, catalogue: Catalogue, name: str, number: int) -> float:
    """Seconds of a picture with the model's own defaults, of several in turn."""
    specs = settle(catalogue, requests(_PICTURES, seed=number, model=name))
    taken = [float(engine.call("make", [spec])) for spec in specs]
    return statistics.median(taken)


def _capacity(engine: Remote, catalogue: Catalogue, jobs: int) -> float:
    """Jobs a second, all of a round at once."""
    return jobs / float(engine.call("make", mixed_sizes(catalogue, jobs, _WARM_UP_SEED)))


def _serve(engine: Remote, catalogue: Catalogue, jobs: int, rate_per_s: float, number: int) -> Outcome:
    outcome: Outcome = engine.call("serve", _arrivals(mixed_sizes(catalogue, jobs, number), rate_per_s, number))
    return outcome


def _arrivals(specs: Sequence[GenerateSpec], rate_per_s: float, seed: int) -> list[Arrival]:
    from workers.bench.streams.simulation import poisson_arrivals

    return poisson_arrivals(rate_per_s, len(specs), lambda _numbers, index: specs[index], seed)


def _pictures(taken: Mapping[str, Sequence[float]]) -> list[Figure]:
    ratio = Figure(
        what=f"a picture at its defaults, {FLOW} ÷ {UNET}",
        value=median_ratio(taken[FLOW], taken[UNET]),
        unit="×",
        target=_HALF,
        at_most=True,
    )
    return [
        ratio,
        *(
            Figure(what=f"a picture, {name}", value=1000 * statistics.median(each), unit="ms")
            for name, each in taken.items()
        ),
    ]


def _plot(pictures: Mapping[str, list[float]], streams: Mapping[str, Sequence[Outcome]], folder: Path) -> None:
    def of(what: str) -> dict[str, list[float]]:
        return {name: [getattr(each, what) for each in outcomes] for name, outcomes in streams.items()}

    panels: list[Any] = [
        Bars(title="a picture at its defaults", unit="s", rounds=dict(pictures)),
        Bars(title="images per second", unit="images/s", rounds=of("images_per_s")),
        Bars(title="p95", unit="s", rounds=of("p95_s")),
    ]
    plot(panels, folder / "builtin.png")
