"""Which workers there are, as they say themselves; who stops saying so is gone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal, cast

import redis
import structlog
from pydantic import BaseModel

from jobs import names
from jobs.newer import read_known
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.scripts import Scripts

WorkerState = Literal["starting", "ready", "busy", "draining"]

log = structlog.get_logger()

_STARTING_S = 30.0  # at least, of a worker that starts: loading may keep all threads of a process from speaking


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """
    One worker process.

    Attributes:
        name: Celery's name of it, as Flower shows it.
        state: A `WorkerState`, or what a newer version calls it.
        models: That it serves.
        kinds: Those that it runs without a model.
        jobs: Ids of those that it holds.
        slots: Jobs that it takes at a time; 0 while it starts.
        started_at: Unix time, seconds, by its own clock.
        known_schema: The newest schema of a record that it knows; 1 where it says nothing of it, as the first version.
    """

    name: str
    state: WorkerState | str
    models: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    slots: int = 0
    started_at: float = 0.0
    known_schema: int = names.SCHEMA_VERSION

    @property
    def queues(self) -> tuple[str, ...]:
        """Whose jobs it takes."""
        return (*map(names.queue_of, self.models), *map(names.queue_of_kind, self.kinds))


class Fleet:
    """Reports of workers in Redis, each with an expiry."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._scripts = Scripts(client, settings)

    def report(self, worker: WorkerReport) -> None:
        """Say where a worker is; holds for two leases, and 30 s at least while it starts."""
        least_s = _STARTING_S if worker.state == "starting" else 2.0
        self._scripts.run(
            "report",
            name=worker.name,
            report=json.dumps(asdict(worker)),
            expiry_s=int(max(least_s, 2 * self._settings.lease_s)),
        )

    def leave(self, name: str) -> None:
        """A worker that ends in order says so."""
        with map_errors(self._settings):
            self._redis.delete(names.worker_key(name))

    def workers(self) -> list[WorkerReport]:
        """All that are there, by name."""
        with map_errors(self._settings):
            known = sorted(cast("set[str]", self._redis.smembers(names.WORKERS)))
            if not known:
                return []
            found = list(self._redis.mget([names.worker_key(name) for name in known]))
            if gone := [name for name, report in zip(known, found, strict=True) if not report]:
                self._redis.srem(names.WORKERS, *gone)
        reports = [_parse(name, str(report)) for name, report in zip(known, found, strict=True) if report]
        return [report for report in reports if report is not None]


class _Written(BaseModel):
    """A report as it stands in Redis."""

    name: str
    state: str
    models: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    slots: int = 0
    started_at: float = 0.0
    known_schema: int = 1


def _parse(name: str, report: str) -> WorkerReport | None:
    """What is understood of a report; None for one of which nothing is, so that the others are seen."""
    try:
        written, _ = read_known(_Written, {"name": name, **json.loads(report)})
    except (ValueError, TypeError, RecursionError):
        written = None
    if written is None:
        log.warning("a worker's report cannot be read", worker=name)
        return None
    return WorkerReport(**written.model_dump())
