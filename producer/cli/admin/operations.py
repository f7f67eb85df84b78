"""The operator's commands: queues, the dead, workers."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from jobs.errors import InvalidRequest
from jobs.fleet.backlog import backlog_in, unread_in
from jobs.fleet.fleet import WorkerReport, troubles_of
from jobs.kinds.registry import queues_for
from jobs.names import queue_of, queue_of_kind
from jobs.process.visible import visible
from jobs.table.record import JobRecord
from jobs.view import summary_of, view_of
from producer.cli.output.reporting import JsonFlag, ago, print_outcome, reporting, warn
from producer.cli.output.terminal import Terminal, print_json, say
from producer.client.parts import Parts, open_parts

queue_app = typer.Typer(help="Show, pause, resume and empty queues.", no_args_is_help=True)
dead_app = typer.Typer(help="Jobs that failed because their worker died in every attempt.", no_args_is_help=True)

QueueName = Annotated[str, typer.Argument(help="The queue, for example gpu.shapes, or its model or kind.")]
YesFlag = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
DeadJob = Annotated[str, typer.Argument(help="The job's id.")]


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
        table = Table("queue", "waiting in the table", "released to Celery", "running", "later", "")
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


@dead_app.command("list")
def list_dead(as_json: JsonFlag = False) -> None:
    """List them, the newest first."""
    with reporting(as_json):
        records = open_parts().control.dead()
        if as_json:
            for record in records:
                print_json(view_of(record).model_dump(mode="json", exclude_none=True))
            return
        table = Table("job", "queue", "attempts", "died", "why", "what")
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


def workers(as_json: JsonFlag = False) -> None:
    """List workers with their models, jobs, state and problems; warn about messages that no worker receives."""
    with reporting(as_json):
        parts = open_parts()
        found = parts.fleet.workers()
        unread = unread_in(backlog_in(parts.redis, parts.settings, queues_for(parts.catalogue.models)), found)
        for queue, count in unread.items():
            warn(_unread(queue, count))
        if as_json:
            for each in found:
                print_json(_described(each))
            return
        table = Table("worker", "state", "models", "slots", "since", "jobs")
        for each in found:
            shown = ", ".join(each.jobs[:3]) + (f" and {len(each.jobs) - 3} more" if len(each.jobs) > 3 else "")
            table.add_row(each.name, each.state, ", ".join(each.models), str(each.slots), ago(each.started_at), shown)
        Terminal().print(table)
        for each in found:
            for trouble in troubles_of(each):
                say(f"{each.name} {trouble}")


def _unread(queue: str, count: int) -> str:
    wait = "1 message waits" if count == 1 else f"{count:,} messages wait"
    return f"{wait} in {queue}, and no worker receives from it; run `./imagemill doctor` for advice"


def _described(worker: WorkerReport) -> dict[str, Any]:
    shown = {"name": worker.name, "state": worker.state, "models": worker.models, "jobs": worker.jobs}
    return {**shown, "detached": worker.detached, "troubles": troubles_of(worker)}


def _known(parts: Parts, queue: str) -> str:
    """The queue of that name, or of that model or kind."""
    known = {*queues_for(parts.catalogue.models), *(each.queue for each in parts.table.queues())}
    for name in (queue, queue_of(queue), queue_of_kind(queue)):
        if name in known:
            return name
    raise InvalidRequest("queue", f"there is no queue {queue!r}; the queues are {', '.join(sorted(known))}")


def _story(record: JobRecord) -> tuple[str, str]:
    return (record.error.message if record.error else "", summary_of(record) or "")
