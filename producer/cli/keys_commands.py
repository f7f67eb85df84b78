"""The operator's commands for API keys."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidRequest
from jobs.process.settings import Settings, load_settings
from jobs.redis.connection import connect
from producer.cli.reporting import JsonFlag, ago, reporting, tell
from producer.cli.terminal import Terminal, print_json, say
from producer.keys.key import ApiKey
from producer.keys.store import KeyStore

keys_app = typer.Typer(help="Make, list and revoke keys of the HTTP API.", no_args_is_help=True)

KeyName = Annotated[str, typer.Argument(help="The key's name, which is the caller of its jobs.")]

_NOTE = "It is shown this once. Send it with each request:\n  Authorization: Bearer {}…"


@keys_app.command()
def create(
    name: KeyName,
    rate: Annotated[str | None, typer.Option(help="Requests in a time, e.g. 10/second. Default: any number.")] = None,
    max_queued: Annotated[
        int | None, typer.Option(help="Jobs in the queue at a time. Default: IMAGEMILL_MAX_QUEUED, or any number.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model that it may use; any number of times. Default: all.")
    ] = None,
    weight: Annotated[
        float, typer.Option(help="Share of the device while others wait, where others have 1: 0.01 to 100.")
    ] = 1.0,
    as_json: JsonFlag = False,
) -> None:
    """Make a key and print it; it is stored nowhere. With the first one the API is closed to whoever has none."""
    with reporting(as_json):
        settings = load_settings()
        _check_models(model or [], settings)
        token, key = _store(settings).create(name, rate=rate, max_queued=max_queued, models=model, weight=weight)
        _show_token(token, key, as_json)


@keys_app.command()
def rotate(name: KeyName, as_json: JsonFlag = False) -> None:
    """Print a new key in place of one that was lost, leaked or revoked; the name keeps its jobs and its limits."""
    with reporting(as_json):
        token, key = _store(load_settings()).rotate(name)
        _show_token(token, key, as_json)


@keys_app.command("list")
def list_keys(as_json: JsonFlag = False) -> None:
    """All keys, revoked ones too, without what opens anything."""
    with reporting(as_json):
        keys = _store(load_settings()).keys()
        if as_json:
            for each in keys:
                print_json(each.public())
            return
        table = Table("name", "key", "rate", "queued", "models", "weight", "made", "")
        for each in keys:
            models = ", ".join(each.models) if each.models else "all"
            limits = (each.rate or "any", str(each.max_queued or "any"), models, f"{each.weight:g}")
            state = "" if each.is_valid else f"revoked {ago(each.revoked_at)}"
            table.add_row(each.name, f"{each.hint}…", *limits, ago(each.created_at), state)
        Terminal().print(table)


@keys_app.command()
def revoke(name: KeyName, as_json: JsonFlag = False) -> None:
    """Let a key open nothing any more, within two seconds; its jobs go on. The API stays closed without a key."""
    with reporting(as_json):
        key = _store(load_settings()).revoke(name)
        tell(key.public(), f"{name} is revoked", as_json)


def _store(settings: Settings) -> KeyStore:
    return KeyStore(connect(settings), settings)


def _check_models(models: list[str], settings: Settings) -> None:
    known = Catalogue.read(settings.models_file).models
    for each in models:
        if each not in known:
            raise InvalidRequest("model", f"there is no {each!r}; there are {', '.join(sorted(known))}")


def _show_token(token: str, key: ApiKey, as_json: bool) -> None:
    if as_json:
        print_json({"key": token, **key.public()})
        return
    say(token)  # Alone on the standard output, so that a script can keep it.
    say(_NOTE.format(key.hint), err=True)
