"""What became of a job: waited for, saved, printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from jobs.table.states import Status
from jobs.view import JobView, check_kept
from producer.cli.output.reporting import EXIT_NO_IMAGES
from producer.cli.output.terminal import Terminal, print_json
from producer.cli.results.made import add_links, artifact_name
from producer.cli.results.progress import follow_on_terminal, print_result
from producer.cli.results.saving import saving
from producer.client.image import Artifact, Image
from producer.client.job import Job


def see_through(job: Job, out: Path | None, timeout_s: float | None, as_json: bool) -> None:
    """Wait for a job, with a progress bar on a terminal; print what became of it, and save what it made."""
    console = Terminal()
    live = not as_json and console.is_terminal and timeout_s is None
    record = follow_on_terminal(job, console) if live else job.wait(timeout_s)
    if out is not None:
        check_kept(record)
    saved = _save(job, out) if record.status is Status.SUCCEEDED and out is not None else []
    if as_json:
        print_json(describe(job, record, saved))
    else:
        print_result(job, record, console, saved)
    if record.status is not Status.SUCCEEDED or record.result is not None:
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


def describe(job: Job, record: JobView, saved: list[str] | None = None) -> dict[str, Any]:
    """A job as JSON, with links to what it made."""
    description = record.model_dump(mode="json", exclude_none=True)
    if record.status is Status.SUCCEEDED and record.result is None:
        add_links(description, job.images(), job.artifacts())
    return description | ({"saved": saved} if saved else {})
