"""The operator's commands for jobs of a caller, all together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.table import Table

from jobs.errors import InvalidRequest
from jobs.table.drops import ENDS
from jobs.table.states import Status
from jobs.table.table import JobTable
from producer.cli.reporting import JsonFlag, print_outcome, reporting
from producer.cli.terminal import Terminal, print_json
from producer.client.parts import open_parts

jobs_app = typer.Typer(help="Jobs of a caller, all together.", no_args_is_help=True)


@jobs_app.command()
def kept(as_json: JsonFlag = False) -> None:
    """How much of Redis the jobs of each caller take, ended ones too; who has most first."""
    with reporting(as_json):
        found = open_parts().table.kept()
        if as_json:
            for caller, size_bytes in found.items():
                print_json({"caller": caller, "bytes": size_bytes})
            return
        table = Table("caller", "MiB")
        for caller, size_bytes in found.items():
            table.add_row(caller, f"{size_bytes / (1 << 20):,.1f}")
        Terminal().print(table)


@jobs_app.command()
def drop(
    caller: Annotated[str, typer.Option(help="Whose: the name of its key; `default` for who has none.")],
    status: Annotated[
        list[str] | None,
        typer.Option(help=f"Only jobs that ended so: {', '.join(ENDS)}; any number of times. Default: all that ended."),
    ] = None,
    older_than: Annotated[
        float, typer.Option(min=0, metavar="HOURS", help="Leave alone what ended less long ago.")
    ] = 0.0,
    as_json: JsonFlag = False,
) -> None:
    """
    Forget jobs of a caller that have ended, as if their time was over: records, events, idempotency keys.

    Jobs that go on stay. Images stay in the store for as long as that keeps them; `./imagemill storage` deletes them.
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
        raise InvalidRequest("status", f"{status!r} is no end of a job; there are {', '.join(ENDS)}")
    return Status(status)
