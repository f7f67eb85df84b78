"""The operator's commands for queues."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.errors import InvalidRequest
from jobs.kinds.registry import queues_for
from jobs.names import queue_of, queue_of_kind
from jobs.process.visible import visible
from producer.cli.output.reporting import JsonFlag, print_outcome, reporting
from producer.cli.output.terminal import Terminal, print_json, table_of
from producer.client.parts import Parts, open_parts

queue_app = typer.Typer(help="Show, pause, resume and empty queues.", no_args_is_help=True)

QueueName = Annotated[str, typer.Argument(help="The queue, for example gpu.shapes-flow, or its model or kind.")]
YesFlag = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


@queue_app.command("list")
def list_queues(as_json: JsonFlag = False) -> None:
    """Show the number of jobs in each queue."""
    with reporting(as_json):
        queues = open_parts().table.queues()
        if as_json:
            for each in queues:
                counts = {"waiting": each.waiting, "released": each.released, "running": each.running}
                print_json({"queue": each.queue, **counts, "later": each.later, "paused": each.is_paused})
            return
        table = table_of("queue", "waiting", "released to Celery", "running", "later", "state")
        for each in queues:
            counted = (str(each.waiting), str(each.released), str(each.running), str(each.later))
            table.add_row(each.queue, *counted, "paused" if each.is_paused else "")
        Terminal().print(table)


@queue_app.command()
def pause(queue: QueueName, as_json: JsonFlag = False) -> None:
    """Pause a queue: running jobs finish, no job starts, new jobs are still accepted."""
    with reporting(as_json):
        parts = open_parts()
        parts.control.pause(_known(parts, queue))
        print_outcome({"queue": _known(parts, queue), "paused": True}, f"{queue} is paused", as_json)


@queue_app.command()
def resume(queue: QueueName, as_json: JsonFlag = False) -> None:
    """Resume a paused queue."""
    with reporting(as_json):
        parts = open_parts()
        parts.control.resume(_known(parts, queue))
        print_outcome({"queue": _known(parts, queue), "paused": False}, f"{queue} is resumed", as_json)


@queue_app.command()
def purge(queue: QueueName, yes: YesFlag = False, as_json: JsonFlag = False) -> None:
    """Cancel all jobs of a queue that have not started, and Celery messages that are not jobs yet."""
    cancel_queue(queue, running=False, yes=yes, as_json=as_json)


def cancel_queue(queue: str, *, running: bool, yes: bool, as_json: bool) -> None:
    """Cancel the jobs of a queue, after asking."""
    with reporting(as_json):
        parts = open_parts()
        name = _known(parts, queue)
        counted = [each for each in parts.table.queues() if each.queue == name]  # None of a queue that never had a job.
        count = parts.control.count_messages(name)
        count += sum(each.waiting + each.released + each.later + (each.running if running else 0) for each in counted)
        if not yes and count and not typer.confirm(f"Cancel {count} jobs of {visible(name)}?", err=True):
            raise typer.Exit(1)
        canceled = parts.control.cancel_all(name, running=running)
        print_outcome({"queue": name, "canceled": canceled}, f"{canceled} jobs canceled", as_json)


def _known(parts: Parts, queue: str) -> str:
    """The queue of that name, or of that model or kind."""
    known = {*queues_for(parts.catalogue.models), *(each.queue for each in parts.table.queues())}
    for name in (queue, queue_of(queue), queue_of_kind(queue)):
        if name in known:
            return name
    raise InvalidRequest("queue", f"there is no queue {queue!r}; the queues are {', '.join(sorted(known))}")
