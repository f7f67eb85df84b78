"""
The command line of everybody who submits.

Exit codes: 0 done; 1 the job ended without images, or they are deleted; 2 bad input; 3 Redis or the store cannot be
used; 4 no end in the time given; 5 no such job or file.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.envelope import Change
from jobs.errors import InvalidRequest
from jobs.fields import parse
from jobs.process.logs import configure_logging
from jobs.table.states import Status
from producer.cli.admin.dead import dead_app
from producer.cli.admin.deletions import delete
from producer.cli.admin.files import files_app
from producer.cli.admin.jobs import jobs_app
from producer.cli.admin.keys import keys_app
from producer.cli.admin.notifications import notifications_app
from producer.cli.admin.queues import YesFlag, cancel_queue, queue_app
from producer.cli.admin.workers import workers
from producer.cli.models.group import models_app
from producer.cli.output.reporting import JsonFlag, reporting
from producer.cli.output.terminal import Terminal, print_json, say
from producer.cli.results.outcome import describe, see_through
from producer.cli.results.progress import print_result
from producer.cli.results.saving import check_file
from producer.cli.submission.commands import TimeoutOption, edit, submit
from producer.client.job import Job
from producer.client.parts import open_parts

app = typer.Typer(
    name="imagemill",
    help="A job queue that turns text and pictures into images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(queue_app, name="queue")
app.add_typer(dead_app, name="dead")
app.add_typer(notifications_app, name="notifications")
app.add_typer(files_app, name="files")
app.add_typer(jobs_app, name="jobs")
app.add_typer(keys_app, name="keys")
app.add_typer(models_app, name="models")
app.command("submit")(submit)
app.command("edit")(edit)
jobs_app.command("delete")(delete)
app.command("workers")(workers)

JobId = Annotated[str, typer.Argument(help="The job's id.")]


@app.callback()
def begin() -> None:
    """Before every command: what is logged goes to stderr, for stdout is the answer."""
    configure_logging(logging.WARNING)


@app.command()
def status(job_id: JobId, as_json: JsonFlag = False) -> None:
    """Show the status of a job."""
    with reporting(as_json):
        job = Job(job_id, open_parts())
        record = job.status()
        if as_json:
            print_json(describe(job, record))
        elif record.has_ended:
            print_result(job, record, Terminal(), [])
        else:
            detail = f" {record.stage} {record.step}/{record.steps}" if record.stage else ""
            say(f"{record.status}{detail} {record.progress:.0%}")


@app.command()
def wait(
    job_id: JobId,
    out: Annotated[Path | None, typer.Option(help="Save the image to this file.")] = None,
    timeout: TimeoutOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Wait until a job ends; show a progress bar."""
    with reporting(as_json):
        if out is not None:
            check_file(out)
        see_through(Job(job_id, open_parts()), out, timeout, as_json)


@app.command()
def events(
    job_id: JobId,
    after: Annotated[str, typer.Option(help="Start after the event with this id.")] = "0",
    as_json: JsonFlag = False,
) -> None:
    """Print a job's events as they happen, until it ends."""
    with reporting(as_json):
        for event in Job(job_id, open_parts()).events(after):
            if as_json:
                print_json({"id": event.id, "type": event.type, **event.data})
            else:
                say(f"{event.id}  {event.type:<10}" + "  ".join(f"{k}={_plain(v)}" for k, v in event.data.items()))


@app.command()
def cancel(
    job_id: Annotated[str | None, typer.Argument(help="The job's id.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All jobs of --queue, including running ones.")] = False,
    queue: Annotated[str | None, typer.Option(help="With --all: the queue.")] = None,
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Cancel a job. An ended job does not change; a plain Celery message with this id that comes later will not run."""
    with reporting(as_json):
        if everything != (queue is not None) or everything == (job_id is not None):
            raise InvalidRequest("job", "give a job id, or --all with --queue")
    if queue is not None:
        cancel_queue(queue, running=True, yes=yes, as_json=as_json)
    elif job_id is not None:
        _cancel_one(job_id, as_json)


@app.command()
def reprioritize(
    job_id: JobId,
    priority: Annotated[str | None, typer.Option(help="The new priority: low, normal or high.")] = None,
    front: Annotated[
        bool, typer.Option("--front", help="Move it before the caller's other jobs of the same priority.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Change the position of a queued job among its caller's jobs."""
    with reporting(as_json):
        change = parse(Change, {"priority": priority, "position": "front" if front else None})
        parts = open_parts()
        job = Job(job_id, parts)
        record = job.reprioritize(change.priority, change.position)
        place = parts.table.place(job_id)
        if as_json:
            print_json(describe(job, record))
        else:
            say(f"about position {place.position} in its queue" if place else record.status)


def _cancel_one(job_id: str, as_json: bool) -> None:
    with reporting(as_json):
        job = Job(job_id, open_parts())
        record = job.cancel()
        if as_json:
            print_json(describe(job, record))
        else:
            say("stops at its next step" if record.status is Status.PROCESSING else record.status)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
