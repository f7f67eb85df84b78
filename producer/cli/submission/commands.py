"""Submitting jobs from the command line: of any kind, and edits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.errors import InvalidRequest
from jobs.kinds.edit import EDIT
from jobs.kinds.registry import DEFAULT, KINDS, kind_of
from jobs.view import view_of
from producer.cli.output.reporting import JsonFlag, reporting, warn
from producer.cli.output.terminal import print_json, say
from producer.cli.results.outcome import describe, see_through
from producer.cli.results.saving import check_file
from producer.cli.submission.file_commands import submit_file
from producer.cli.submission.options import read_input, with_field_options
from producer.client.job import Job
from producer.client.parts import open_parts

TimeoutOption = Annotated[float | None, typer.Option(help="Maximum time to wait, in seconds.")]
WaitFlag = Annotated[bool, typer.Option("--wait", help="Wait until the job ends; show a progress bar.")]
OutOption = Annotated[Path | None, typer.Option(help="Wait, and save the image to this file.")]


@with_field_options()
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
    wait: WaitFlag = False,
    detach: Annotated[bool, typer.Option("--detach", help="With --file: submit, print the job ids and exit.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Wait and save the image to this file; with --file, to this folder.")
    ] = None,
    timeout: TimeoutOption = None,
    as_json: JsonFlag = False,
) -> None:
    """
    Submit a prompt; with --wait or --out, wait for the result.

    With --file, submit all jobs of a file and wait for them.
    After Ctrl-C, run the same command to continue: no job is submitted twice.
    Options apply to every line; fields of a line override them.
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
        asked = requested if prompt is None else {"prompt": prompt, **requested}
        _submit(asked, wait=wait, out=out, timeout_s=timeout, as_json=as_json)


@with_field_options("edit", without="image")
def edit(
    fields: Callable[[], dict[str, Any]],
    image: Annotated[str, typer.Argument(help="The picture: a local file, or a file id, URL or JSON as in a request.")],
    prompt: Annotated[str, typer.Argument(help="Text that describes the result.")],
    wait: WaitFlag = False,
    out: OutOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Submit an edit of a picture: all of it, or where --mask is white; with --wait or --out, wait for the result."""
    with reporting(as_json):
        asked = {"prompt": prompt, "image": read_input(("image",), image), **_requested(fields(), EDIT.name, out)}
        _submit(asked, wait=wait, out=out, timeout_s=timeout, as_json=as_json)


def _submit(asked: dict[str, Any], *, wait: bool, out: Path | None, timeout_s: float | None, as_json: bool) -> None:
    if out is not None:
        check_file(out)
    parts = open_parts()
    submission = parts.submitter.prepare(parts.submitter.find_inputs(asked))
    job = Job(parts.submitter.enter(submission), parts)
    warn(parts.submitter.warning(submission))
    if wait or out is not None:
        see_through(job, out, timeout_s, as_json)
    elif as_json:
        print_json(describe(job, view_of(parts.submitter.entered(submission, job.id))))
    else:
        say(job.id)


def _requested(fields: dict[str, Any], kind: str | None, out: Path | None) -> dict[str, Any]:
    """What was typed, and what goes without saying: the name of a file says its format, of kinds that have one."""
    requested = fields if kind is None else {"kind": kind, **fields}
    has_format = "output" in kind_of(kind or DEFAULT).request.model_fields
    if has_format and (implied := _format_of(out)) is not None and "format" not in requested.get("output", {}):
        requested = {**requested, "output": {"format": implied, **requested.get("output", {})}}
    return requested


def _format_of(out: Path | None) -> str | None:
    suffixes = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
    return suffixes.get(out.suffix.lower()) if out is not None else None
