"""Reports why a worker could not start, or how its process ended, where it cannot report that itself."""

from __future__ import annotations

import signal
from contextlib import closing

import structlog

from jobs.errors import ImagemillError, RedisUnavailable
from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from storage.errors import StorageError

log = structlog.get_logger()

_MOST_CHARS = 500


def sentence_of(exc: Exception) -> str:
    """Why a worker could not start."""
    if isinstance(exc, ImagemillError | StorageError):
        return str(exc)[:_MOST_CHARS]
    return f"{type(exc).__name__}: {exc}"[:_MOST_CHARS]


def how_it_ended(exit_code: int) -> str:
    """The end of a process that nobody asked to end, as a sentence."""
    if exit_code >= 0:
        return f"its process ended with exit code {exit_code}; its log says why"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    return f"its process was ended by {name}"


def note_failure(settings: Settings, report: WorkerReport, why: str) -> None:
    """Have a worker listed as failed, unless it has said why itself. Never raises: nothing could handle it."""
    try:
        with closing(connect(settings)) as client:
            fleet = Fleet(client, settings)
            last = fleet.find(report.name)
            if last is None or last.state != "failed":
                fleet.note_failure(last or report, why)
    except RedisUnavailable as exc:
        log.warning("failure not reported", worker=report.name, reason=str(exc))
