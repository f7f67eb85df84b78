"""The operator's commands for uploaded files, of all callers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.table import Column

from jobs.errors import InvalidRequest
from jobs.fields import Name
from jobs.inputs.files import File
from jobs.inputs.heads import MAX_BYTES
from producer.cli.output.reporting import JsonFlag, ago, print_outcome, reporting
from producer.cli.output.terminal import Terminal, print_json, table_of
from producer.client.parts import Parts, open_parts
from producer.files.intake import PIECE_BYTES, PURPOSES, Intake

files_app = typer.Typer(help="Upload, list, show and delete pictures that jobs use.", no_args_is_help=True)

FileId = Annotated[str, typer.Argument(help="The file's id.")]
Caller = Annotated[str | None, typer.Option(help="Only files of this caller: the name of an API key, or `default`.")]
_CALLER: TypeAdapter[str] = TypeAdapter(Name)


@files_app.command()
def upload(
    path: Annotated[Path, typer.Argument(help="A picture: PNG, JPEG or WebP.")],
    purpose: Annotated[str, typer.Option(help=f"One of {', '.join(PURPOSES)}; stored and shown.")] = "vision",
    caller: Annotated[
        str, typer.Option(help="Whose file it is: the name of an API key, or `default` for jobs without a key.")
    ] = "default",
    expires_after: Annotated[
        int | None,
        typer.Option(min=1, metavar="SECONDS", help="When it expires. Default: IMAGEMILL_FILE_RETENTION_S."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Upload a picture and print its id. The same picture again is the same file."""
    with reporting(as_json):
        if purpose not in PURPOSES:
            raise InvalidRequest("purpose", f"{purpose!r} is not one of {', '.join(PURPOSES)}")
        parts = open_parts()
        max_mib = parts.table.callers.find([_checked(caller)])[caller].max_file_mib
        after_s = expires_after or parts.settings.file_retention_s
        file = _taken(
            parts,
            path,
            lambda intake: intake.finish(
                caller, filename=path.name, purpose=purpose, expires_after_s=after_s, max_mib=max_mib
            ),
        )
        print_outcome(asdict(file), file.id, as_json)


@files_app.command("list")
def list_files(
    caller: Caller = None,
    purpose: Annotated[str | None, typer.Option(help="Only files for this purpose.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of files.")] = 1_000,
    as_json: JsonFlag = False,
) -> None:
    """List files, the newest first."""
    with reporting(as_json):
        found = open_parts().files.list(caller, limit=limit, purpose=purpose)
        if as_json:
            for each in found:
                print_json(asdict(each))
            return
        table = table_of(Column("file", no_wrap=True), "caller", "name", "purpose", "pixels", "MB", "uploaded")
        for each in found:
            pixels = f"{each.width}×{each.height}"
            size = f"{each.size_bytes / 1e6:,.1f}"
            table.add_row(each.id, each.caller, each.filename, each.purpose, pixels, size, ago(each.created_at))
        Terminal().print(table)


@files_app.command()
def show(file_id: FileId) -> None:
    """Print what is known of a file as JSON."""
    with reporting(as_json=True):
        print_json(asdict(open_parts().files.get(file_id, None)))


@files_app.command()
def delete(file_id: FileId, as_json: JsonFlag = False) -> None:
    """Delete a file, unless a job needs it that has not ended."""
    with reporting(as_json):
        parts = open_parts()
        parts.files.delete(file_id, None)
        parts.inputs.delete([file_id])
        parts.files.forget(file_id)
        print_outcome({"id": file_id, "deleted": True}, f"{file_id} is deleted", as_json)


def _checked(caller: str) -> str:
    try:
        return _CALLER.validate_python(caller)
    except ValidationError as exc:
        raise InvalidRequest("caller", f"{caller!r} is no caller's name") from exc


def _taken(parts: Parts, path: Path, finish: Callable[[Intake], File]) -> File:
    intake = Intake(parts.files, parts.inputs, max_bytes=MAX_BYTES)
    try:
        with path.open("rb") as content:
            while piece := content.read(PIECE_BYTES):
                intake.write(piece)
        return finish(intake)
    except OSError as exc:
        raise InvalidRequest("path", f"cannot read {path}: {exc.strerror or exc}") from exc
    finally:
        intake.abort()
