"""
The command line of everybody who submits.

Exit codes: 0 done; 1 the job ended without images; 2 bad input; 3 Redis or the store cannot be used; 4 no end in the
time given; 5 no such job or file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.envelope import Change
from jobs.errors import InvalidRequest
from jobs.fields import parse
from jobs.kinds.registry import DEFAULT, KINDS, kind_of
from jobs.process.logs import configure_logging
from jobs.table.states import Status
from jobs.view import JobView, view_of
from producer.cli.ends_commands import ends_app
from producer.cli.file_commands import submit_file
from producer.cli.jobs_commands import jobs_app
from producer.cli.keys_commands import keys_app
from producer.cli.made import add_links, artifact_name
from producer.cli.operations import YesFlag, cancel_queue, dead_app, queue_app, workers
from producer.cli.options import with_field_options
from producer.cli.progress import follow_on_terminal, print_result
from producer.cli.reporting import EXIT_NO_IMAGES, JsonFlag, reporting, warn
from producer.cli.saving import check_file, saving
from producer.cli.terminal import Terminal, print_json, say
from producer.cli.uploads_commands import files_app
from producer.client.image import Artifact, Image
from producer.client.job import Job
from producer.client.parts import open_parts

app = typer.Typer(
    name="imagemill",
    help="A job queue that turns text prompts into images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(queue_app, name="queue")
app.add_typer(dead_app, name="dead")
app.add_typer(ends_app, name="ends")
app.add_typer(files_app, name="files")
app.add_typer(jobs_app, name="jobs")
app.add_typer(keys_app, name="keys")
app.command("workers")(workers)

TimeoutOption = Annotated[float | None, typer.Option(help="Maximum time to wait, in seconds.")]
JobId = Annotated[str, typer.Argument(help="The job's id.")]


@app.callback()
def begin() -> None:
    """Before every command: what is logged goes to stderr, for stdout is the answer."""
    configure_logging(logging.WARNING)


@app.command()
@with_field_options
def submit(
    fields: Callable[[], dict[str, Any]],
    prompt: Annotated[str | None, typer.Argument(help="Text that describes the image.")] = None,
    kind: Annotated[str | None, typer.Option(help=f"Kind of job: {', '.join(KINDS)}.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="A file of jobs: JSON lines, each with an optional custom_id; or a .txt file with one prompt per line."
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job ends; show a progress bar.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="With --file: submit, print the job ids and exit.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Wait and save the image to this file; with --file, to this folder.")
    ] = None,
    timeout: TimeoutOption = None,
    as_json: JsonFlag = False,
) -> None:
    """
    Submit a prompt; with --wait or --out, wait for the result.

    With --file, submit all jobs of a file and wait for them. After Ctrl-C, run the same command to continue: no job is
    submitted twice. Options apply to every line; fields of a line override them.
    """
    with reporting(as_json):
        requested = _requested(fields(), kind, out)
        if prompt is not None and file is not None:
            raise InvalidRequest("prompt", "give a prompt, or a file with --file")
        if file is not None:
            submit_file(file, requested, out=out, timeout_s=timeout, is_detached=detach, as_json=as_json)
            return
        if prompt is None and kind is None:
            raise InvalidRequest("prompt", "give a prompt, or a file with --file")
        if out is not None:
            check_file(out)
        parts = open_parts()
        submission = parts.submitter.prepare(requested if prompt is None else {"prompt": prompt, **requested})
        job = Job(parts.submitter.enter(submission), parts)
        warn(parts.submitter.warning(submission))
        if wait or out is not None:
            _see_through(job, out, timeout, as_json)
        elif as_json:
            print_json(_describe(job, view_of(parts.submitter.entered(submission, job.id))))
        else:
            say(job.id)


@app.command()
def status(job_id: JobId, as_json: JsonFlag = False) -> None:
    """Show the status of a job."""
    with reporting(as_json):
        job = Job(job_id, open_parts())
        record = job.status()
        if as_json:
            print_json(_describe(job, record))
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
        _see_through(Job(job_id, open_parts()), out, timeout, as_json)


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
            print_json(_describe(job, record))
        else:
            say(f"about position {place.position} in its queue" if place else record.status)


def _cancel_one(job_id: str, as_json: bool) -> None:
    with reporting(as_json):
        job = Job(job_id, open_parts())
        record = job.cancel()
        if as_json:
            print_json(_describe(job, record))
        else:
            say("stops at its next step" if record.status is Status.PROCESSING else record.status)


def _see_through(job: Job, out: Path | None, timeout_s: float | None, as_json: bool) -> None:
    console = Terminal()
    live = not as_json and console.is_terminal and timeout_s is None
    record = follow_on_terminal(job, console) if live else job.wait(timeout_s)
    saved = _save(job, out) if record.status is Status.SUCCEEDED and out is not None else []
    if as_json:
        print_json(_describe(job, record, saved))
    else:
        print_result(job, record, console, saved)
    if record.status is not Status.SUCCEEDED:
        raise typer.Exit(EXIT_NO_IMAGES)


def _save(job: Job, out: Path) -> list[str]:
    images, others = job.images(), job.artifacts()
    paths = [out] if len(images) == 1 else [out.with_stem(f"{out.stem}-{index}") for index in range(len(images))]
    paths += [out.with_name(artifact_name(out.stem, index, other)) for index, other in enumerate(others)]
    made: list[Image | Artifact] = [*images, *others]
    for path, each in zip(paths, made, strict=True):
        with saving(path, f"; job {job.id} is done: `./imagemill wait {job.id} --out FILE` saves it elsewhere"):
            each.save(path)
    return [str(path) for path in paths]


def _describe(job: Job, record: JobView, saved: list[str] | None = None) -> dict[str, Any]:
    description = record.model_dump(mode="json", exclude_none=True)
    if record.status is Status.SUCCEEDED:
        add_links(description, job.images(), job.artifacts())
    return description | ({"saved": saved} if saved else {})


def _requested(fields: dict[str, Any], kind: str | None, out: Path | None) -> dict[str, Any]:
    """What was typed, and what goes without saying: the name of a file says its format, of kinds that have one."""
    requested = fields if kind is None else {"kind": kind, **fields}
    has_format = "output" in kind_of(kind or DEFAULT).request.model_fields
    if has_format and (implied := _format_of(out)) is not None and "format" not in requested.get("output", {}):
        requested = {**requested, "output": {"format": implied, **requested.get("output", {})}}
    return requested


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _format_of(out: Path | None) -> str | None:
    suffixes = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
    return suffixes.get(out.suffix.lower()) if out is not None else None
