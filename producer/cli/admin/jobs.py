"""The operator's commands for all jobs of a caller."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

import typer

from jobs.errors import InvalidRequest
from jobs.table.drops import ENDS
from jobs.table.states import Status
from jobs.table.table import JobTable
from producer.cli.output.reporting import JsonFlag, print_outcome, reporting
from producer.cli.output.terminal import Terminal, print_json, table_of
from producer.client.parts import open_parts

jobs_app = typer.Typer(help="Ended jobs: the memory they use; delete them or their results.", no_args_is_help=True)


@jobs_app.command()
def kept(as_json: JsonFlag = False) -> None:
    """Show how much memory of Redis each caller's jobs use, including ended jobs; the largest first."""
    with reporting(as_json):
        found = open_parts().table.kept()
        if as_json:
            for caller, size_bytes in found.items():
                print_json({"caller": caller, "bytes": size_bytes})
            return
        table = table_of("caller", "MiB")
        for caller, size_bytes in found.items():
            table.add_row(caller, f"{size_bytes / (1 << 20):,.1f}")
        Terminal().print(table)


@jobs_app.command()
def drop(
    caller: Annotated[
        str, typer.Option(help="The caller: the name of its API key, or `default` for jobs without a key.")
    ],
    status: Annotated[
        list[str] | None,
        typer.Option(help=f"Only jobs with this status: {', '.join(ENDS)}; may be repeated. Default: all ended jobs."),
    ] = None,
    older_than: Annotated[
        float, typer.Option(min=0, metavar="HOURS", help="Only jobs that ended more than this many hours ago.")
    ] = 0.0,
    as_json: JsonFlag = False,
) -> None:
    """
    Delete the records, events and idempotency keys of a caller's ended jobs.

    Jobs that have not ended stay.
    Images stay in the image store; to delete them, run `./imagemill jobs delete` first.
    """
    with reporting(as_json):
        statuses = [_known(each) for each in status or ()]
        ended_before = time.time() - older_than * 3600 if older_than else None
        count = sum(_dropped(open_parts().table, caller, statuses, ended_before))
        print_outcome({"caller": caller, "dropped": count}, f"{count} jobs of {caller} dropped", as_json)


def _dropped(table: JobTable, caller: str, statuses: list[Status], ended_before: float | None) -> Iterator[int]:
    cursor = None
    while True:
        done = table.drop_ended(caller, statuses, ended_before, cursor)
        yield done.count
        cursor = done.cursor
        if cursor is None:
            return


def _known(status: str) -> Status:
    if status not in ENDS:
        raise InvalidRequest("status", f"{status!r} is not the status of an ended job; use one of {', '.join(ENDS)}")
    return Status(status)
