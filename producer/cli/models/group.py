"""The group of commands; those that look at a model's files stand with what runs the system, and join it there."""

from __future__ import annotations

import typer

from producer.cli.models.listing import list_models
from producer.cli.models.showing import show
from producer.cli.output.reporting import JsonFlag

models_app = typer.Typer(help="What can be requested: list, show, check and add models.", no_args_is_help=False)
models_app.command("list")(list_models)
models_app.command("show")(show)


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the models and what each takes; the first is the default."""
    if context.invoked_subcommand is None:
        list_models(as_json)
    elif as_json:
        raise typer.BadParameter(f"put it behind {context.invoked_subcommand}", param_hint="--json")
