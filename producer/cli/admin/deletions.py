"""The operator's command that deletes results: of some jobs, or of a caller."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from jobs.deletions.deleter import Deleter
from jobs.deletions.deletions import Deletions
from jobs.errors import InvalidRequest
from jobs.inputs.sent import SentInputs
from producer.cli.output.reporting import JsonFlag, print_outcome, reporting
from producer.client.parts import Parts, open_parts
from storage.deletion import JobObjects


def delete(
    job_ids: Annotated[list[str] | None, typer.Argument(help="Ids of ended jobs.", metavar="[ID]…")] = None,
    caller: Annotated[str | None, typer.Option(help="All ended jobs of this caller, in place of ids.")] = None,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="With --caller: only jobs that ended before this day or time, for example 2026-11-01 or "
            "2026-11-01T12:00+01:00; UTC if it does not say.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """
    Delete what ended jobs made and what they were asked for: images, data, prompts, parameters.

    Their status, ids and times stay.
    What cannot be deleted now, because the image store is unavailable, is deleted by workers and API processes later.
    """
    with reporting(as_json):
        if bool(job_ids) == (caller is not None):
            raise InvalidRequest("job", "give job ids, or --caller")
        if before is not None and caller is None:
            raise InvalidRequest("before", "is for --caller only")
        ended_before = None if before is None else _moment(before)
        whose = caller if caller is not None else ", ".join(job_ids or ())
        if not yes and not typer.confirm(f"Delete the results of {whose}?", err=True):
            raise typer.Exit(1)
        parts = open_parts()
        if caller is None:
            done = [parts.deletions.delete(each).id for each in job_ids or ()]
        else:
            done = list(_deleted(parts.deletions, caller, ended_before))
        while _deleter(parts).run_once():
            pass
        count = len(done)
        print_outcome({"deleted": done}, f"the results of {count} job{'' if count == 1 else 's'} are deleted", as_json)


def _deleter(parts: Parts) -> Deleter:
    inputs = SentInputs(parts.files, parts.inputs)
    return Deleter(parts.deletions, parts.settings, JobObjects(parts.store).delete, inputs.forget)


def _deleted(deletions: Deletions, caller: str, ended_before: float | None) -> Iterator[str]:
    cursor = None
    while True:
        done = deletions.delete_ended(caller, (), ended_before, cursor)
        yield from done.job_ids
        cursor = done.cursor
        if cursor is None:
            return


def _moment(text: str) -> float:
    """Unix time, seconds, of a day or a time in ISO 8601."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest("before", f"{text!r} is no day or time, such as 2026-11-01") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
