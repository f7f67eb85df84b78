"""`./imagemill bench …`: what a person types. What a command needs is imported when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ops.bench.truth.subjects import SUBJECTS, Subject
from producer import Client
from producer.cli.output.reporting import reporting

bench_app = typer.Typer(help="Run benchmarks.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option(file_okay=False, help="Folder for the results.")]
Rounds = Annotated[int, typer.Option(min=1, help="How often each contender is measured, in turns.")]
Steps = Annotated[int, typer.Option(min=1, help="Denoising steps of a job.")]
Threads = Annotated[
    int | None, typer.Option(min=0, help="CPU threads of torch; 0 lets torch choose. Default: as workers.")
]

_FOLDER = Path("build/bench")
_EDITS = 100  # of each kind


@bench_app.command("truth")
def truth(
    folder: Folder = _FOLDER,
    running: Annotated[bool, typer.Option("--running", help="Use the running system; do not start one.")] = False,
    seed: Annotated[int, typer.Option(help="Seed that selects the captions.")] = 0,
    edit: Annotated[
        bool, typer.Option("--edit", help="Check edits of drawn pictures, made by an engine alone.")
    ] = False,
    model: Annotated[
        list[str] | None, typer.Option(help="Only this built-in model: shapes or shapes-flow; may be repeated.")
    ] = None,
) -> None:
    """Check whether images show what their prompts say: held-out captions, checked on the pixels."""
    subjects = _subjects(model)
    if edit:
        _truth_of_edits(folder, seed, subjects, running=running)
        return
    from ops.bench.system.system import system_for_a_while
    from ops.bench.truth.generations import bench_truth

    console = Console()
    with reporting(), nullcontext(Client()) if running else system_for_a_while(console) as client:
        bench_truth(client, subjects, folder, console, seed=seed)


def _truth_of_edits(folder: Path, seed: int, subjects: Sequence[Subject], *, running: bool) -> None:
    if running:
        raise typer.BadParameter("not with --edit, which has an engine of its own", param_hint="'--running'")
    from ops.bench.truth.edits import Effort, bench_edits

    with reporting():
        for subject in subjects:
            bench_edits(Effort(edits=_EDITS, seed=seed, threads=_threads(None), subject=subject), folder, Console())


def _subjects(models: Sequence[str] | None) -> list[Subject]:
    if unknown := set(models or ()) - set(SUBJECTS):
        names = ", ".join(SUBJECTS)
        raise typer.BadParameter(f"{min(unknown)}: there are {names}", param_hint="'--model'")
    return [SUBJECTS[name] for name in models or SUBJECTS]


@bench_app.command("engine")
def engine(
    folder: Folder = _FOLDER,
    rounds: Rounds = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of a round, all at once in the engine.")] = 16,
    steps: Steps = 20,
    threads: Threads = None,
) -> None:
    """Compare the engine with a one-at-a-time worker and with a bare loop of the model's calls."""
    from ops.bench.engine.engine import Effort, bench_engine

    with reporting():
        effort = Effort(rounds=rounds, jobs=jobs, steps=steps, threads=_threads(threads))
        bench_engine(effort, folder, Console())


@bench_app.command("system")
def system(
    folder: Folder = _FOLDER,
    rounds: Rounds = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of a round with the built-in model.")] = 128,
    simulated_jobs: Annotated[int, typer.Option(min=1, help="Jobs of a round on the simulated device.")] = 128,
    simulated: Annotated[str, typer.Option(help="The simulated device's times.")] = "launch_s=0.02 row_s=0.002",
    singles: Annotated[int, typer.Option(min=1, help="Jobs submitted alone, to measure the overhead.")] = 40,
    steps: Steps = 20,
    threads: Threads = None,
) -> None:
    """Compare the whole system (submit → S3 → finished) with the engine alone; its overhead for a single job."""
    from ops.bench.system.whole_system import Effort, bench_system

    with reporting():
        effort = Effort(
            rounds=rounds,
            jobs=jobs,
            simulated_jobs=simulated_jobs,
            simulated=simulated,
            singles=singles,
            steps=steps,
            threads=_threads(threads),
        )
        bench_system(effort, folder, Console())


@bench_app.command("residency")
def residency(
    models: Annotated[int, typer.Option(min=1, help="Equal models that are asked for.")] = 8,
    devices: Annotated[int, typer.Option(min=1)] = 2,
    fit: Annotated[int, typer.Option(min=1, help="Models that a device holds.")] = 2,
    load: Annotated[float, typer.Option(help="Load, as a share of what devices can do that never load a model.")] = 0.7,
    load_s: Annotated[float, typer.Option(help="Seconds that loading a model takes.")] = 30.0,
    hours: Annotated[float, typer.Option(help="Of virtual time.")] = 10.0,
    seed: int = 1,
) -> None:
    """Compare ways to choose which of many models lie on few devices, in virtual time."""
    from ops.bench.engine.residency import Effort, bench_residency

    if models < devices * fit:
        raise typer.BadParameter("all of them fit: nothing is loaded", param_hint="'--models'")
    effort = Effort(models=models, devices=devices, fit=fit, load=load, load_s=load_s, hours=hours, seed=seed)
    bench_residency(effort, Console())


@bench_app.command("latency")
def latency(
    folder: Folder = _FOLDER,
    rounds: Rounds = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of a round's stream.")] = 200,
    load: Annotated[float, typer.Option(help="Load, as a share of the one-at-a-time worker's capacity.")] = 0.8,
    threads: Threads = None,
) -> None:
    """Latency of a Poisson stream of short and long jobs: one at a time, batched by request, and the engine."""
    from ops.bench.engine.latency import Effort, bench_latency

    with reporting():
        bench_latency(Effort(rounds=rounds, jobs=jobs, load=load, threads=_threads(threads)), folder, Console())


@bench_app.command("families")
def families(
    folder: Folder = _FOLDER,
    rounds: Rounds = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of a round's stream.")] = 2_000,
    load: Annotated[float, typer.Option(min=0.01, help="Load, as a share of what passes of the best size do.")] = 0.8,
    threads: Threads = None,
) -> None:
    """Time passes of tiny models of each flow-matching family; simulate mixed streams with these times."""
    from ops.bench.engine.families import Effort, bench_families

    with reporting():
        bench_families(Effort(rounds=rounds, jobs=jobs, load=load, threads=_threads(threads)), folder, Console())


@bench_app.command("builtin")
def builtin(
    folder: Folder = _FOLDER,
    rounds: Rounds = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of a round's stream.")] = 60,
    load: Annotated[float, typer.Option(min=0.01, help="Load, as a share of what the engine does at once.")] = 0.8,
) -> None:
    """Time of a picture of both built-in models; a stream of three sizes, mixed in a pass and apart."""
    from ops.bench.engine.builtin import Effort, bench_builtin

    with reporting():
        bench_builtin(Effort(rounds=rounds, jobs=jobs, load=load), folder, Console())


@bench_app.command("scale")
def scale(
    folder: Folder = _FOLDER,
    rounds: Rounds = 3,
    simulated: Annotated[str, typer.Option(help="The simulated device's times.")] = "launch_s=0.02 row_s=0.005",
    steps: Steps = 10,
) -> None:
    """Throughput with 1, 2 and 4 worker processes on a simulated device; Redis commands per job."""
    from ops.bench.system.scale import Effort, bench_scale

    with reporting():
        bench_scale(Effort(rounds=rounds, workers=(1, 2, 4), simulated=simulated, steps=steps), folder, Console())


@bench_app.command("submit")
def submit(
    folder: Folder = _FOLDER,
    rounds: Rounds = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of a round, for each method.")] = 100_000,
) -> None:
    """Compare bulk submission with one apply_async call per job; memory of Redis per queued job."""
    from ops.bench.system.submission import bench_submission

    with reporting():
        bench_submission(jobs=jobs, rounds=rounds, folder=folder, console=Console())


@bench_app.command("api")
def api(
    folder: Folder = _FOLDER,
    rounds: Rounds = 3,
    seconds: Annotated[float, typer.Option(min=0.5, help="Seconds of each measurement of status reads.")] = 4,
    attack_s: Annotated[float, typer.Option(min=0.5, help="Seconds of each attack.")] = 4,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs that wait in the queue.")] = 1_000,
    attack: Annotated[
        list[str] | None, typer.Option(help="Only this attack, by its name in the table; may be repeated.")
    ] = None,
) -> None:
    """Status reads of one API process on one core; cost of waiting clients; effect of attacks on another key."""
    from ops.bench.api.api import Effort, bench_api, named

    with reporting():
        effort = Effort(rounds=rounds, seconds=seconds, attack_s=attack_s, jobs=jobs, attacks=named(attack or ()))
        bench_api(effort, folder, Console())


@bench_app.command("gpu")
def gpu(
    folder: Folder = _FOLDER,
    only: Annotated[
        list[str] | None,
        typer.Option(help="A model, or a pattern of the keys that it prints: sdxl, '*/load*'; may be repeated."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the results that the folder has.")] = False,
    minutes: Annotated[float, typer.Option(min=0, help="After which nothing is begun.")] = 4.0,
) -> None:
    """Published models at their real sizes on the GPU of this machine, if it has one; some minutes at a time."""
    from workers.bench.gpu.command import bench_gpu

    with reporting():
        done = bench_gpu(folder, only=only or (), is_resumed=resume, minutes=minutes)
    if done is not None and not done.is_well:
        raise typer.Exit(1)


def _threads(requested: int | None) -> int:
    from workers.process.settings import load_worker_settings

    return load_worker_settings().threads if requested is None else requested
