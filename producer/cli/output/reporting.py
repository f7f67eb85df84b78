"""How the command line prints results and errors: sentences or JSON, and exit codes for scripts."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import structlog
import typer

from jobs.errors import (
    FileInUse,
    FileNotFound,
    FilesTooLarge,
    FileTooLarge,
    IdempotencyConflict,
    ImagemillError,
    InvalidConfiguration,
    InvalidRequest,
    JobFailed,
    JobNotEnded,
    JobNotFound,
    ResultDeleted,
    WaitTimeout,
)
from jobs.process.logs import configure_logging
from producer.cli.output.terminal import print_json, say
from storage.errors import StorageError

EXIT_NO_IMAGES, EXIT_BAD_INPUT, EXIT_UNAVAILABLE, EXIT_TIMEOUT, EXIT_NOT_FOUND = 1, 2, 3, 4, 5
_INTERRUPTED = 130

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


@contextmanager
def reporting(as_json: bool = False) -> Iterator[None]:
    """Turn errors that have a sentence into that sentence and an exit code; others are bugs, with a traceback."""
    if not structlog.is_configured():  # Its own way is to stdout, where a script reads what a command says.
        configure_logging(logging.WARNING)
    try:
        yield
    except (ImagemillError, StorageError) as exc:
        message = str(exc)
        if as_json:
            field = {"field": exc.field} if isinstance(exc, InvalidRequest) else {}
            print_json({"error": {"code": getattr(exc, "code", type(exc).__name__), **field, "message": message}})
        else:
            say(f"imagemill: {message}", err=True)
        raise typer.Exit(_exit_code(exc)) from exc
    except KeyboardInterrupt as exc:
        raise typer.Exit(_INTERRUPTED) from exc


def print_outcome(fields: dict[str, Any], sentence: str, as_json: bool) -> None:
    """What a command did: as JSON, or as a sentence."""
    if as_json:
        print_json(fields)
    else:
        say(sentence)


def warn(sentence: str | None) -> None:
    """What a person should know though all went well, if anything; beside what a script reads."""
    if sentence is not None:
        say(f"imagemill: warning: {sentence}", err=True)


def ago(moment: float | None) -> str:
    """How long ago a Unix time was, for a person: "3 min ago"."""
    seconds = int(time.time() - (moment or 0))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{max(0, seconds)} s ago"


def _exit_code(exc: Exception) -> int:
    match exc:
        case InvalidRequest() | IdempotencyConflict() | InvalidConfiguration() | JobNotEnded():
            return EXIT_BAD_INPUT
        case FileTooLarge() | FilesTooLarge() | FileInUse():
            return EXIT_BAD_INPUT
        case JobFailed() | ResultDeleted():
            return EXIT_NO_IMAGES
        case WaitTimeout():
            return EXIT_TIMEOUT
        case JobNotFound() | FileNotFound():
            return EXIT_NOT_FOUND
        case _:
            return EXIT_UNAVAILABLE
