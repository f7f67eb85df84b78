"""What a person sees while a job runs, and when it is done."""

from __future__ import annotations

import json

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from jobs.table.events import progress_in
from jobs.table.states import Status
from jobs.view import JobView, progress_of
from producer.client.job import Job

STAGES = ("queued", "encode", "generate", "postprocess", "upload")


def follow_on_terminal(job: Job, console: Console) -> JobView:
    """Show a live bar until the job has ended; return its record."""
    columns = (
        TextColumn("[bold]{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    kind = job.status().kind
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("queued", total=1.0, detail="")
        for event in job.events():
            if event.type == "progress":
                stage, step, steps = progress_in(event)
                share = progress_of(kind, Status.PROCESSING, stage, step, steps)
                detail = f"step {step} of {steps}" if steps else ""
                progress.update(bar, description=escape(stage), completed=share, detail=detail)
    return job.status()


def print_result(job: Job, record: JobView, console: Console, saved: list[str]) -> None:
    """Print the files of what was made, or links, and how long each stage took; or why there is nothing."""
    if record.result is not None:
        when = "is being deleted" if record.result == "deleting" else "is deleted"
        line = f"[yellow]{escape(record.status)}[/] {escape(record.id)}: its result {when}"
        console.print(line, markup=True, soft_wrap=True)
        return
    if record.status is not Status.SUCCEEDED:
        reason = f"{record.error.message} ({record.error.code})" if record.error else ""
        # One line, whatever width a pipe is thought to have: programs read it.
        line = f"[red]{escape(record.status)}[/] {escape(record.id)} {escape(reason)}"
        console.print(line, markup=True, soft_wrap=True)
        return
    seed = f", seed {record.parameters['seed']}" if record.parameters and "seed" in record.parameters else ""
    console.print(f"[green]succeeded[/] {escape(record.id)}{seed}", markup=True)
    for name in saved:
        console.print(f"  saved  {name}", soft_wrap=True)
    if not saved:
        _print_links(job, console)
    if record.data is not None:
        data = json.dumps(record.data, ensure_ascii=False)
        console.print("  data  ", data, highlight=False, soft_wrap=True)
    for warning in record.warnings:
        console.print(f"  [yellow]warning[/]  {escape(warning)}", markup=True, soft_wrap=True)
    stages = [*STAGES, *(stage for stage in record.timings if stage not in (*STAGES, "total"))]
    times = "  ".join(f"{escape(stage)} {record.timings[stage]:.2f} s" for stage in stages if stage in record.timings)
    total = f"[bold]total {record.timings.get('total', 0):.2f} s[/]"
    console.print(f"  took   {times}  {total}", markup=True, soft_wrap=True)


def _print_links(job: Job, console: Console) -> None:
    # No wrapping: a link is there to be copied.
    for image in job.images():
        console.print("  link  ", image.url(), highlight=False, soft_wrap=True)
    for other in job.artifacts():
        console.print(f"  {other.record.name or 'link':<6}", other.url(), highlight=False, soft_wrap=True)
