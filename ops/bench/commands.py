"""`./imagemill bench …`: what a person types. What a command needs is imported when it runs."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from producer import Client
from producer.cli.reporting import reporting

bench_app = typer.Typer(help="Measure.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option(file_okay=False, help="Where the results go.")]
Rounds = Annotated[int, typer.Option(min=1, help="Times that each contender is measured, in turns.")]
Steps = Annotated[int, typer.Option(min=1, help="Denoising steps of a job.")]
Threads = Annotated[
    int | None, typer.Option(min=0, help="CPU threads of torch, 0 for its own choice. Default: as workers.")
]

_FOLDER = Path("build/bench")


@bench_app.command("truth")
def truth(
    folder: Folder = _FOLDER,
    running: Annotated[bool, typer.Option("--running", help="Use the running system, and start none.")] = False,
    seed: Annotated[int, typer.Option(help="Chooses the captions.")] = 0,
) -> None:
    """Do the pictures show what their prompts say? Held-out captions, checked on the pixels."""
    from ops.bench.system.system import system_for_a_while
    from ops.bench.system.truth import bench_truth

    console = Console()
    with reporting(), nullcontext(Client()) if running else system_for_a_while(console) as client:
        bench_truth(client, folder, console, seed=seed)


@bench_app.command("engine")
def engine(
    folder: Folder = _FOLDER,
    rounds: Rounds = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of a round, all at once in the engine.")] = 16,
    steps: Steps = 20,
    threads: Threads = None,
) -> None:
    """The engine against the tutorials' one-at-a-time worker, and against a bare loop of the model's own calls."""
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
    singles: Annotated[int, typer.Option(min=1, help="Jobs submitted alone, for the time that the system adds.")] = 40,
    steps: Steps = 20,
    threads: Threads = None,
) -> None:
    """The whole system (submit → S3 → finished) against the engine alone, and what it adds to a single job."""
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


@bench_app.command("latency")
def latency(
    folder: Folder = _FOLDER,
    rounds: Rounds = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of a round's stream.")] = 200,
    load: Annotated[float, typer.Option(help="Share of the one-at-a-time worker's capacity that arrives.")] = 0.8,
    threads: Threads = None,
) -> None:
    """A Poisson stream of short and long jobs: one at a time, batched by requests, and the engine."""
    from ops.bench.engine.latency import Effort, bench_latency

    with reporting():
        bench_latency(Effort(rounds=rounds, jobs=jobs, load=load, threads=_threads(threads)), folder, Console())


@bench_app.command("scale")
def scale(
    folder: Folder = _FOLDER,
    rounds: Rounds = 3,
    simulated: Annotated[str, typer.Option(help="The simulated device's times.")] = "launch_s=0.02 row_s=0.005",
    steps: Steps = 10,
) -> None:
    """Throughput with 1, 2 and 4 worker processes on a simulated device, and what a job costs Redis meanwhile."""
    from ops.bench.system.scale import Effort, bench_scale

    with reporting():
        bench_scale(Effort(rounds=rounds, workers=(1, 2, 4), simulated=simulated, steps=steps), folder, Console())


@bench_app.command("submit")
def submit(
    folder: Folder = _FOLDER,
    rounds: Rounds = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of a round, for either way.")] = 100_000,
) -> None:
    """Bulk submission against one apply_async call for each job, and what a waiting job takes of Redis' memory."""
    from ops.bench.system.submission import bench_submission

    with reporting():
        bench_submission(jobs=jobs, rounds=rounds, folder=folder, console=Console())


@bench_app.command("api")
def api(
    folder: Folder = _FOLDER,
    rounds: Rounds = 3,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each measurement of status reads.")] = 4,
    attack_s: Annotated[float, typer.Option(min=0.5, help="Seconds of each attack.")] = 4,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs that wait in the queue.")] = 1_000,
    attack: Annotated[list[str] | None, typer.Option(help="Only these attacks, by their names in the table.")] = None,
) -> None:
    """Status reads of one API process on one core; what those who wait cost; what another key sees of attacks."""
    from ops.bench.api.api import Effort, bench_api, named

    with reporting():
        effort = Effort(rounds=rounds, seconds=seconds, attack_s=attack_s, jobs=jobs, attacks=named(attack or ()))
        bench_api(effort, folder, Console())


@bench_app.command("gpu")
def gpu(folder: Folder = _FOLDER, rounds: Rounds = 5, steps: Steps = 20) -> None:
    """SD 1.5 and SDXL at their real sizes on the GPU of this machine, if it has one."""
    from ops.bench.engine.gpu import bench_gpu

    with reporting():
        bench_gpu(folder, Console(), rounds=rounds, steps=steps)


def _threads(requested: int | None) -> int:
    from workers.process.settings import load_worker_settings

    return load_worker_settings().threads if requested is None else requested
