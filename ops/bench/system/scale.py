"""
How throughput grows with worker processes, and what a job costs Redis and the processor meanwhile.

The device is simulated, so that one machine can hold several; everything around it is real: Redis, S3, the worker
processes, their pictures. All of them share the processor, which a fleet of hosts would not.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from rich.console import Console

from jobs import names
from jobs.view import view_of
from ops.bench.report.plot import Bars, plot
from ops.bench.report.report import Figure, Report, publish
from ops.bench.report.rounds import LEAST_BUNCHES, alternate, median_ratio, sustained_rate
from ops.bench.report.surroundings import look_around
from ops.bench.system.adoption import Adopted, adoption_figures
from ops.bench.system.adoption import measure as measure_adoption
from ops.bench.system.fleet import ChangingFleet, changing_fleet
from ops.bench.system.redis_calls import RedisCalls
from ops.bench.system.submission_paths import SUBMISSION_PATHS, Cost, SubmissionPath, measure, path_figures
from ops.bench.workload import succeeded
from ops.process import wait_until
from producer import Job

MODEL = "simulated"
QUEUE = names.queue_of(MODEL)

_TARGETS = {2: 1.9, 4: 3.6}  # times the throughput of one worker
_LEAST_IMAGES_PER_S = 40.0  # of four workers: below, the device sleeps too long to show what the system costs
_SPARE_BUNCHES = 2  # A worker takes a few jobs less than its share.
_PATIENCE_S = 600.0
_SHOWN_COMMANDS = 12

_CATALOGUE = """
[models.simulated]
source = "{times}"
revision = "1"
dtype = "float32"
family = "simulated"
schedulers = ["default"]
defaults = {{ width = 64, height = 64, num_inference_steps = {steps}, guidance_scale = 1.0, scheduler = "default" }}
limits = {{ min_side = 64, max_side = 256, max_steps = 200, max_n = 16 }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """
    How much to measure.

    Attributes:
        workers: Numbers of worker processes, ascending, the first of them 1.
        simulated: The simulated device's times, as a catalogue's `source`.
        rows: How many jobs share a pass on such a device.
        bunches: Passes' worth of jobs for each worker and round, all at once in the queue.
    """

    rounds: int
    workers: Sequence[int]
    simulated: str
    steps: int
    rows: int = 32
    bunches: int = LEAST_BUNCHES + _SPARE_BUNCHES


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """
    One fleet, once.

    Attributes:
        images_per_s: Of all workers together, while each was busy.
        shares: Jobs that each worker ran.
        redis: Of a job, from its submission to its end.
        cpu_ms: Processor time of a job, by who spent it.
    """

    images_per_s: float
    shares: list[int]
    redis: RedisCalls
    cpu_ms: dict[str, float]


def bench_scale(effort: Effort, folder: Path, console: Console) -> Report:
    """Measure, print, and write `scale.json` and `scale.png`."""
    surroundings = look_around(device_times=effort.simulated, steps=effort.steps)
    with TemporaryDirectory(prefix="imagemill-bench-") as own:
        models_file = Path(own) / "models.toml"
        models_file.write_text(_CATALOGUE.format(times=effort.simulated, steps=effort.steps), "utf-8")
        variables = {
            "IMAGEMILL_MODELS_FILE": str(models_file),
            "IMAGEMILL_WORKER_MODELS": MODEL,
            "IMAGEMILL_WORKER_THREADS": "1",
            "IMAGEMILL_WORKER_CACHE_DIR": str(Path(own) / "cache"),  # So that all share what the first one measured.
        }
        with changing_fleet(variables) as fleet:
            ways = {_name(count): partial(_measure, fleet, effort, count) for count in effort.workers}
            measured = alternate(ways, effort.rounds, console)
            paths = {each.name: partial(_measure_path, fleet, effort, each) for each in SUBMISSION_PATHS}
            costs = alternate(paths, effort.rounds, console)
            surroundings["slots"] = fleet.slots
            adopted = alternate({"adoption": partial(_measure_adoption, fleet)}, effort.rounds, console)
    report = Report(
        name="scale",
        title=f"scale: jobs of {effort.steps} steps on {effort.simulated}, medians of {effort.rounds} rounds",
        figures=[*_figures(measured, effort), *path_figures(costs), *adoption_figures(adopted["adoption"])],
        surroundings=surroundings,
        rounds={
            **{name: [dataclasses.asdict(each) for each in rounds] for name, rounds in measured.items()},
            **{name: [dataclasses.asdict(each) for each in rounds] for name, rounds in costs.items()},
            **{name: [dataclasses.asdict(each) for each in rounds] for name, rounds in adopted.items()},
        },
    )
    plot(_panels(measured), folder / "scale.png")
    publish(report, folder, console)
    return report


def _measure(fleet: ChangingFleet, effort: Effort, workers: int, number: int) -> Measured:
    """All jobs wait in the queue from the start, so that no worker is ever short of them."""
    fleet.set_size(workers)
    count = effort.bunches * effort.rows * workers
    calls, cpu_s = RedisCalls.so_far(fleet.redis), fleet.cpu_s()
    jobs = fleet.client.submit_many({"prompt": f"picture {index} of round {number}"} for index in range(count))
    _wait(fleet, jobs)
    redis_calls = RedisCalls.so_far(fleet.redis).since(calls, count)
    spent_s = {name: (after - cpu_s[name]) / count for name, after in fleet.cpu_s().items()}
    ends = _ends_by_worker(fleet, jobs)
    return Measured(
        # Each worker's jobs finish in bunches of its own, which come when they come.
        images_per_s=sum(sustained_rate(each, effort.rows) for each in ends),
        shares=[len(each) for each in ends],
        redis=redis_calls,
        cpu_ms={name: 1000 * seconds for name, seconds in spent_s.items()},
    )


def _measure_path(fleet: ChangingFleet, effort: Effort, path: SubmissionPath, number: int) -> Cost:
    """On the largest fleet, with as many jobs as keep it busy for a while."""
    del number
    return measure(fleet, path, MODEL, effort.bunches * effort.rows)


def _measure_adoption(fleet: ChangingFleet, number: int) -> Adopted:
    del number
    return measure_adoption(fleet, MODEL)


def _wait(fleet: ChangingFleet, jobs: Sequence[Job]) -> None:
    """By few questions, because Redis counts them: wait for the job whose turn comes last, then for those beside it."""
    jobs[-1].wait(_PATIENCE_S)
    wait_until(lambda: not any(_left(fleet)), _PATIENCE_S)


def _left(fleet: ChangingFleet) -> list[int]:
    return [each.waiting + each.released + each.running for each in fleet.client.queues()]


def _ends_by_worker(fleet: ChangingFleet, jobs: Sequence[Job]) -> list[list[float]]:
    """When each worker's jobs ended. Raises `JobFailed` for one that did not succeed."""
    records = [view_of(record) for record in fleet.client.parts.table.get_many([job.id for job in jobs])]
    pipeline = fleet.redis.pipeline(transaction=False)
    for record in records:
        pipeline.hget(names.job_key(succeeded(record).id), "owner")
    ends: dict[str, list[float]] = defaultdict(list)
    for owner, record in zip(cast("list[str]", pipeline.execute()), records, strict=True):
        ends[owner].append(record.ended_at or 0.0)
    return list(ends.values())


def _figures(measured: dict[str, list[Measured]], effort: Effort) -> list[Figure]:
    from workers.families.simulated import DeviceTimes  # Late: it needs torch, and not every machine of ops has it.

    rates = _rates(measured)
    one = rates[_name(1)]
    times = DeviceTimes.parse(effort.simulated)
    alone = effort.rows / (effort.steps * (times.launch_s + effort.rows * times.row_s))
    most = measured[_name(max(effort.workers))]
    growth = [
        Figure(
            what=f"{_name(count)} ÷ 1 worker",
            value=median_ratio(rates[_name(count)], one),
            unit="×",
            target=_TARGETS.get(count),
        )
        for count in effort.workers
        if count > 1
    ]
    absolute = [
        Figure(
            what=_name(count),
            value=statistics.median(rates[_name(count)]),
            unit="images/s",
            target=_LEAST_IMAGES_PER_S if count == 4 else None,
        )
        for count in effort.workers
    ]
    cpu = [
        Figure(
            what=f"processor time of a job, {name}",
            value=statistics.median(each.cpu_ms[name] for each in most),
            unit="ms",
        )
        for name in most[0].cpu_ms
    ]
    return [
        *growth,
        *absolute,
        Figure(what="one such device, nothing around it", value=alone, unit="images/s"),
        *cpu,
        *_redis_figures(most),
    ]


def _redis_figures(rounds: Sequence[Measured]) -> list[Figure]:
    commands = _commands(rounds)
    shown = list(commands.items())[:_SHOWN_COMMANDS]
    rest = sum(commands.values()) - sum(calls for _, calls in shown)
    return [
        Figure(what="Redis commands of a job", value=statistics.median(each.redis.total for each in rounds)),
        Figure(what="… reads from connections", value=statistics.median(each.redis.reads for each in rounds)),
        Figure(
            what="… time in scripts", value=statistics.median(1000 * each.redis.busy_s for each in rounds), unit="ms"
        ),
        *(Figure(what=f"… {name.upper()}", value=calls) for name, calls in shown),
        Figure(what="… all others", value=rest),
    ]


def _commands(rounds: Sequence[Measured]) -> dict[str, float]:
    """Calls of a job by command, most first; the median of the rounds."""
    every = {name for each in rounds for name in each.redis.by_command}
    medians = {name: statistics.median(each.redis.by_command.get(name, 0.0) for each in rounds) for name in every}
    return dict(sorted(medians.items(), key=lambda item: -item[1]))


def _panels(measured: dict[str, list[Measured]]) -> list[Bars]:
    most = list(measured.values())[-1]
    shown = list(_commands(most))[:_SHOWN_COMMANDS]
    calls = {name.upper(): [each.redis.by_command.get(name, 0.0) for each in most] for name in shown}
    spent = {name: [each.cpu_ms[name] for each in most] for name in most[0].cpu_ms}
    return [
        Bars(title="simulated device", unit="images/s", rounds=_rates(measured)),
        Bars(title="processor time of a job", unit="ms", rounds=spent),
        Bars(title="Redis commands of a job, by clients and in scripts", unit="calls", rounds=calls),
    ]


def _rates(measured: dict[str, list[Measured]]) -> dict[str, list[float]]:
    return {name: [each.images_per_s for each in rounds] for name, rounds in measured.items()}


def _name(workers: int) -> str:
    return f"{workers} worker{'s' if workers > 1 else ''}"
