"""The command line: the producer's commands, and those that run and measure the system."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from producer import Client
from producer.cli import app, reporting

bench_app = typer.Typer(help="Measure.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")

# What a command needs is imported when it runs: submitting must work where the rest is not installed.


@app.command()
def worker(
    model: Annotated[
        list[str] | None, typer.Option(help="Serve this model; any number of times. Default: all.")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Jobs in hand at a time.")] = None,
    wait_for_services: Annotated[float, typer.Option(help="Seconds to wait for Redis and S3 at the start.")] = 0,
) -> None:
    """Run a worker in the foreground."""
    from workers.launch import launch

    with reporting():
        launch(model or [], concurrency, wait_for_services)


@app.command()
def up() -> None:
    """Run the whole system on this machine, until Ctrl-C."""
    from ops.up import up as run_up

    with reporting():
        run_up()


@app.command()
def demo(
    prompt: Annotated[str, typer.Argument(envvar="PROMPT")] = "a large red circle on a blue background",
) -> None:
    """Start everything, make one picture, stop everything."""
    from ops.demo import demo as run_demo

    with reporting():
        run_demo(prompt)


@bench_app.command("truth")
def bench_truth(
    folder: Annotated[Path, typer.Option(help="Where the results go.")] = Path("build/bench"),
    running: Annotated[bool, typer.Option("--running", help="Use the running system, and start none.")] = False,
    seed: Annotated[int, typer.Option(help="Chooses the captions.")] = 0,
) -> None:
    """Do the pictures show what their prompts say? Held-out captions, checked on the pixels."""
    from ops.bench.system import system_for_a_while
    from ops.bench.truth import bench_truth as run_truth

    console = Console()
    with reporting(), nullcontext(Client()) if running else system_for_a_while(console) as client:
        run_truth(client, folder, console, seed=seed)


if __name__ == "__main__":
    app(prog_name="imagemill")
