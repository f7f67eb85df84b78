"""The operator's commands for API keys."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidRequest
from jobs.process.settings import Settings, load_settings
from jobs.redis.connection import connect
from producer.cli.output.reporting import JsonFlag, ago, print_outcome, reporting
from producer.cli.output.terminal import Terminal, print_json, say, table_of
from producer.keys.key import ApiKey
from producer.keys.store import KeyStore

keys_app = typer.Typer(help="Create, list, change and revoke API keys.", no_args_is_help=True)

KeyName = Annotated[str, typer.Argument(help="The name of the key; it is the caller of the key's jobs.")]

_NOTE = "This key is shown only once. Send it with each request:\n  Authorization: Bearer {}…"


Rate = Annotated[str | None, typer.Option(help="Rate limit, for example 10/second. Default: no limit.")]
MaxQueued = Annotated[
    int | None, typer.Option(help="Maximum number of queued jobs. Default: IMAGEMILL_MAX_QUEUED, or no limit.")
]
MaxKept = Annotated[
    int | None,
    typer.Option(
        help="Memory of Redis for its jobs, in MiB; when it is full, the oldest ended jobs are deleted. "
        "Default: IMAGEMILL_MAX_KEPT_MIB, or two fifths of Redis' maxmemory."
    ),
]
MaxFiles = Annotated[
    int | None,
    typer.Option(help="Room for its uploaded files, in MiB. Default: IMAGEMILL_MAX_FILE_MIB, or 4096."),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="A model that the key may use; may be repeated. Default: all models."),
]
Weight = Annotated[
    float | None, typer.Option(help="Share of the device while other callers wait; 0.01 to 100. Default: 1.")
]
MaxConnections = Annotated[
    int | None,
    typer.Option(help="Open requests in each API process, including streams and waits. Default: 1000."),
]
MaxBatches = Annotated[
    int | None, typer.Option(help="Batches sent or read at the same time in each API process. Default: 4.")
]
MaxUploads = Annotated[int | None, typer.Option(help="Files sent at the same time to each API process. Default: 4.")]
Reset = Annotated[
    list[str] | None, typer.Option(help="A limit to set back to its default, for example rate; may be repeated.")
]

_FIELDS = {
    "max-kept": "max_kept_mib",
    "max-files": "max_file_mib",
    "model": "models",
}  # Options whose fields are called otherwise.


@keys_app.command()
def create(
    name: KeyName,
    rate: Rate = None,
    max_queued: MaxQueued = None,
    max_kept: MaxKept = None,
    max_files: MaxFiles = None,
    models: Models = None,
    weight: Weight = None,
    max_connections: MaxConnections = None,
    max_batches: MaxBatches = None,
    max_uploads: MaxUploads = None,
    as_json: JsonFlag = False,
) -> None:
    """Create a key and print it once; only its hash is stored. After the first key, the API requires a key."""
    with reporting(as_json):
        settings = load_settings()
        _check_models(models or [], settings)
        limits = _given(
            rate=rate,
            max_queued=max_queued,
            max_kept_mib=max_kept,
            max_file_mib=max_files,
            models=models,
            weight=weight,
            max_connections=max_connections,
            max_batches=max_batches,
            max_uploads=max_uploads,
        )
        token, key = _store(settings).create(name, **limits)
        _show_token(token, key, as_json)


@keys_app.command()
def update(
    name: KeyName,
    rate: Rate = None,
    max_queued: MaxQueued = None,
    max_kept: MaxKept = None,
    max_files: MaxFiles = None,
    models: Models = None,
    weight: Weight = None,
    max_connections: MaxConnections = None,
    max_batches: MaxBatches = None,
    max_uploads: MaxUploads = None,
    reset: Reset = None,
    as_json: JsonFlag = False,
) -> None:
    """Change the limits of a key; others stay. They apply within five seconds, but not to jobs that are queued."""
    with reporting(as_json):
        settings = load_settings()
        _check_models(models or [], settings)
        limits = _given(
            rate=rate,
            max_queued=max_queued,
            max_kept_mib=max_kept,
            max_file_mib=max_files,
            models=models,
            weight=weight,
            max_connections=max_connections,
            max_batches=max_batches,
            max_uploads=max_uploads,
        )
        again = dict.fromkeys(_FIELDS.get(each, each.replace("-", "_")) for each in reset or ())
        if not limits and not again:
            raise InvalidRequest("limits", "give at least one; `./imagemill keys update --help` lists them")
        key = _store(settings).update(name, **again | limits)
        print_outcome(key.public(), f"{name} is changed", as_json)


@keys_app.command()
def rotate(name: KeyName, as_json: JsonFlag = False) -> None:
    """
    Print a new key in place of one that was lost, leaked or revoked; the name keeps its jobs and its limits.

    What the old key has open ends, as by `revoke`.
    """
    with reporting(as_json):
        token, key = _store(load_settings()).rotate(name)
        _show_token(token, key, as_json)


@keys_app.command("list")
def list_keys(as_json: JsonFlag = False) -> None:
    """List all keys, including revoked ones, without their secrets."""
    with reporting(as_json):
        keys = _store(load_settings()).keys()
        if as_json:
            for each in keys:
                print_json(each.public())
            return
        table = table_of("name", "key", "state", "models", "limits")
        for each in keys:
            models = ", ".join(each.models) if each.models else "all"
            state = f"created {ago(each.created_at)}" if each.is_valid else f"revoked {ago(each.revoked_at)}"
            table.add_row(each.name, f"{each.hint}…", state, models, _limits_of(each))
        Terminal().print(table)


@keys_app.command()
def revoke(name: KeyName, as_json: JsonFlag = False) -> None:
    """
    Revoke a key: its requests are refused within two seconds, and its open streams end within five.

    The API still requires a key.
    Jobs of the revoked key go on; only those that an OpenAI client waits for without an Idempotency-Key are canceled.
    """
    with reporting(as_json):
        key = _store(load_settings()).revoke(name)
        print_outcome(key.public(), f"{name} is revoked", as_json)


def _limits_of(key: ApiKey) -> str:
    """Those of one key, in words; a weight of 1, and what is not limited, are not said."""
    said = [
        key.rate and f"rate {key.rate}",
        key.weight != 1 and f"weight {key.weight:g}",
        key.max_queued and f"{key.max_queued:,} queued",
        key.max_kept_mib and f"{key.max_kept_mib:,} MiB kept",
        key.max_file_mib and f"{key.max_file_mib:,} MiB of files",
        f"{key.max_connections:,} connections",
        f"{key.max_batches:,} batches",
        f"{key.max_uploads:,} uploads",
    ]
    return ", ".join(each for each in said if each)


def _store(settings: Settings) -> KeyStore:
    return KeyStore(connect(settings), settings)


def _given(**limits: Any) -> dict[str, Any]:
    """Those that a command names."""
    return {name: value for name, value in limits.items() if value is not None and value != []}


def _check_models(models: list[str], settings: Settings) -> None:
    known = Catalogue.read(settings.models_file).models
    for each in models:
        if each not in known:
            raise InvalidRequest("model", f"there is no model {each!r}; the models are {', '.join(sorted(known))}")


def _show_token(token: str, key: ApiKey, as_json: bool) -> None:
    if as_json:
        print_json({"key": token, **key.public()})
        return
    say(token)  # Alone on the standard output, so that a script can keep it.
    say(_NOTE.format(key.hint), err=True)
