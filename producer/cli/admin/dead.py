"""The operator's commands for dead jobs: those whose worker died in every attempt."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.errors import InvalidRequest
from jobs.table.record import JobRecord
from jobs.view import summary_of, view_of
from producer.cli.output.reporting import JsonFlag, ago, print_outcome, reporting
from producer.cli.output.terminal import Terminal, print_json, table_of
from producer.client.parts import open_parts

dead_app = typer.Typer(help="Jobs that failed because their worker died in every attempt.", no_args_is_help=True)

DeadJob = Annotated[str, typer.Argument(help="The job's id.")]


@dead_app.command("list")
def list_dead(as_json: JsonFlag = False) -> None:
    """List them, the newest first."""
    with reporting(as_json):
        records = open_parts().control.dead()
        if as_json:
            for record in records:
                print_json(view_of(record).model_dump(mode="json", exclude_none=True))
            return
        table = table_of("job", "queue", "attempts", "died", "error", "request")
        for record in records:
            table.add_row(record.id, record.queue, str(record.attempts), ago(record.ended_at), *_story(record))
        Terminal().print(table)


@dead_app.command()
def show(job_id: DeadJob) -> None:
    """Print one as JSON."""
    with reporting(as_json=True):
        print_json(view_of(open_parts().table.get(job_id)).model_dump(mode="json", exclude_none=True))


@dead_app.command()
def replay(job_id: DeadJob, as_json: JsonFlag = False) -> None:
    """Queue a job again with the same id. Works for every job that ended without images."""
    with reporting(as_json):
        record = open_parts().control.replay(job_id)
        print_outcome(view_of(record).model_dump(mode="json", exclude_none=True), f"{job_id} is queued again", as_json)


@dead_app.command()
def drop(job_id: DeadJob, as_json: JsonFlag = False) -> None:
    """Remove a job from the list; its record stays."""
    with reporting(as_json):
        if not open_parts().control.drop_dead(job_id):
            raise InvalidRequest("job", f"{job_id} is not on the list of dead jobs")
        print_outcome({"id": job_id, "dropped": True}, f"{job_id} is removed from the list", as_json)


def _story(record: JobRecord) -> tuple[str, str]:
    return (record.error.message if record.error else "", summary_of(record) or "")
