"""
Celery's `revoke` and `terminate`, and so Flower's, made a cancel of the job.

Celery's own keeps revoked ids in each worker's memory for three hours, which would swallow a replay of the same id,
and the threads pool cannot terminate a task.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from celery.utils.functional import maybe_list
from celery.worker.control import Panel

from jobs import names
from jobs.errors import JobNotFound, RedisUnavailable
from jobs.table.states import Status
from workers.attempt.context import Context
from workers.process.drain import leave_with
from workers.process.residency.lines import ReadLines

log = structlog.get_logger()


def turn_revoke_into_cancel(context: Context) -> None:
    """Put ours in the place of Celery's control commands, for this process."""
    revoke = _revoke_by(context)

    def terminate(state: Any, signal: Any = None, task_id: Any = None, **_: Any) -> Any:
        return revoke(state, task_id, terminate=True, signal=signal)

    def revoke_by_stamped_headers(_state: Any, _headers: Any = None, **_: Any) -> dict[str, str]:
        return {"error": "jobs are canceled by their ids: revoke or cancel each"}

    for command in (revoke, terminate, revoke_by_stamped_headers):
        Panel.data[command.__name__] = command


def drain_on_shutdown(drain: Callable[[], None]) -> None:
    """
    Have Celery's remote `shutdown`, which is Flower's too, stop this worker as SIGTERM does.

    Celery's own waits for running tasks without stopping them: one that waits for the store would wait for ever.
    """

    def shutdown(_state: Any, **_: Any) -> dict[str, str]:
        drain()
        leave_with(os.EX_OK)
        return {"ok": "draining"}

    Panel.data["shutdown"] = shutdown


def keep_to_lines(queues: Sequence[str], read: ReadLines) -> None:
    """
    Have Celery's remote `add_consumer` and `cancel_consumer`, which are buttons of Flower's, mean the line of a queue.

    Celery's consumer must never read a queue itself, which is adopted from: it would drop what others send.

    Args:
        queues: Of this worker's jobs.
        read: Those lines that are read; a model that is not loaded has its line read when it is.
    """
    lines = {name: names.line_of(queue) for queue in queues for name in (queue, names.line_of(queue))}

    notes = {"add_consumer": read.take_in, "cancel_consumer": read.leave_out}

    def of_lines(command: Callable[..., Any], note: Callable[[str], None]) -> Callable[..., Any]:
        def run(state: Any, queue: Any = None, **rest: Any) -> Any:
            if queue not in lines:
                return {"error": f"this worker takes no jobs of {queue}; its queues are {', '.join(queues)}"}
            note(of_jobs := str(names.queue_of_line(lines[queue])))
            if read.is_closed(of_jobs):
                return {"ok": f"the model of {of_jobs} is not loaded: it is as you ask from when it is"}
            return command(state, queue=lines[queue], **rest)

        return run

    for name, note in notes.items():
        Panel.data[name] = of_lines(Panel.data[name], note)


def _revoke_by(context: Context) -> Callable[..., Any]:
    def revoke(state: Any, task_id: Any = None, terminate: bool = False, signal: Any = None, **_: Any) -> Any:
        del terminate, signal
        answers = []
        for job_id in maybe_list(task_id) or []:
            status = _cancel(context, str(job_id))
            if status is Status.CANCELED:
                event = {"uuid": str(job_id), "terminated": False, "signum": None, "expired": False}
                state.consumer.event_dispatcher.send("task-revoked", **event)
            answers.append(f"{job_id}: {status or 'no such job'}")
        return {"ok": "cancel: " + ", ".join(answers)}

    return revoke


def _cancel(context: Context, job_id: str) -> Status | str | None:
    try:
        status, released = context.table.cancel(job_id, remembers=True)
    except JobNotFound:
        return None
    except RedisUnavailable as exc:
        log.warning("job not canceled", job_id=job_id, reason=str(exc))
        return None
    context.pass_on(released)
    return status
