"""The command line: the producer's commands, and those that run and measure the system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.process.private import private_files
from jobs.version import VERSION
from ops.bench.commands import bench_app
from ops.storage_commands import storage_app
from producer.cli.commands import app
from producer.cli.models.group import models_app
from producer.cli.output.reporting import JsonFlag, reporting
from producer.cli.output.terminal import say

__all__ = ["app"]

app.add_typer(bench_app, name="bench")
app.add_typer(storage_app, name="storage")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        say(VERSION)
        raise typer.Exit


@app.callback()
def imagemill(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A job queue that turns text and pictures into images."""


# What a command needs is imported when it runs: submitting must work where the rest is not installed.


@app.command()
def worker(
    model: Annotated[
        list[str] | None, typer.Option(help="A model to serve; may be repeated. Default: all models.")
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(help="GPUs that have a process each: all, numbers (0,1), or cpu for none. Default: all."),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Number of processes on each device; for small models on a CPU.")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Jobs that each process works on at a time.")] = None,
    wait_for_services: Annotated[
        float, typer.Option(help="Seconds to wait for Redis and the image store at startup.")
    ] = 0,
) -> None:
    """Run a worker in the foreground."""
    from workers.process.parent.launch import launch

    with private_files(), reporting():
        code = launch(model or [], concurrency, wait_for_services, processes, devices)
    raise typer.Exit(code)


@app.command()
def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 for any free port. Default: 8000.")] = None,
) -> None:
    """Serve the HTTP API in the foreground."""
    from jobs.process.settings import load_settings
    from producer.api.server import serve
    from producer.api.settings import load_api_settings
    from storage.registry import load_storage_settings

    with private_files(), reporting():
        given = {name: value for name, value in {"host": host, "port": port}.items() if value is not None}
        serve(load_settings(), load_storage_settings(), load_api_settings(**given))


@app.command()
def up() -> None:
    """Run the whole system on this machine until Ctrl-C."""
    from ops.up import up as run_up

    with reporting():
        run_up()


@app.command()
def demo(
    prompt: Annotated[str, typer.Argument(envvar="PROMPT")] = "a large red circle on a blue background",
    edit: Annotated[
        str | None,
        typer.Option(envvar="EDIT", help="What to make of the image. Default: the prompt in another colour."),
    ] = None,
) -> None:
    """Start everything, make one image and edit it, stop everything."""
    from ops.demo import demo as run_demo

    with reporting():
        run_demo(prompt, edit)


@app.command()
def doctor(
    flower: Annotated[
        str | None,
        typer.Option(metavar="URL", help="URL of Flower. Default: IMAGEMILL_DOCTOR_FLOWER_URL, or the local stack's."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check Redis, the image store, models, workers, Flower and GPU, and give advice; exits with 1 if a check fails."""
    from ops.doctor.command import doctor as run_doctor

    with reporting(as_json):
        code = run_doctor(flower, as_json=as_json)
    raise typer.Exit(code)


@models_app.command("add")
def add_model(
    source: Annotated[
        str, typer.Argument(help="A folder in the layout of diffusers, one file, or a model's id on the hub.")
    ],
    name: Annotated[str | None, typer.Option(help="The model's name. Default: as its source is called.")] = None,
    revision: Annotated[
        str | None,
        typer.Option(help="Of the hub: a branch, tag or commit. Default: main. Of a folder: your label of it."),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="Of one file: the pipeline whose configuration it has, a folder or a model's id on the hub."),
    ] = None,
    models_file: Annotated[
        Path | None, typer.Option(help="The catalogue to write to. Default: IMAGEMILL_MODELS_FILE, or models.toml.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the entry; write nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the entry of a model: its family, dtype, sizes, steps, guidance and schedulers, from what its files say."""
    from ops.models.command import add

    with reporting(as_json):
        add(source, name, models_file, revision, config, dry_run=dry_run, as_json=as_json)


@models_app.command("check")
def check_models(
    name: Annotated[str | None, typer.Argument(help="The model's name. Default: all models.")] = None,
    loads: Annotated[
        bool, typer.Option("--load", help="Load each as a worker does, on the CPU: finds wrong tensors, too.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check entries and the files that they name; exits with 1 if a model cannot be served."""
    from ops.doctor.command import check

    with reporting(as_json):
        code = check(name, loads=loads, as_json=as_json)
    raise typer.Exit(code)


@app.command()
def dashboard() -> None:
    """Print the Grafana dashboard as JSON, ready to import."""
    from ops.dashboard.dashboard import dashboard as make_dashboard
    from producer.cli.output.terminal import print_json

    print_json(make_dashboard())


if __name__ == "__main__":
    app(prog_name="imagemill")
