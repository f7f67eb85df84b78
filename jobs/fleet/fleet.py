"""Which workers there are, as they say themselves; who stops saying so is gone."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, cast

import redis
import structlog
from pydantic import BaseModel

from jobs import names
from jobs.newer import read_known
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.scripts import Argument, Scripts

WorkerState = Literal["starting", "ready", "busy", "draining", "detached", "failed"]

FAILURE_SHOWN_S = 300  # for which a worker that could not start is listed

TAKES_JOBS = ("ready", "busy")
_IS_UP = (*TAKES_JOBS, "detached")

log = structlog.get_logger()

_STARTING_S = 30.0  # at least, of a worker that starts: loading may keep all threads of a process from speaking


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """
    One worker process.

    Attributes:
        name: Celery's name of it, as Flower shows it.
        state: A `WorkerState`, or what a newer version calls it. One that is `detached` was asked to receive no jobs of
            any queue; one that `failed` could not start, or has ended by itself.
        models: That it serves.
        loaded: Models that lie on its device at the moment; None where all do that it serves. It loads the others when
            jobs wait for them.
        left_out: Models that its worker serves, and that are too large for its device.
        not_loaded: Models that it could not load when jobs waited for them, each with why; it serves them no more.
        device: That it computes on, for people; empty where it does not say.
        device_memory_gb: Of the device's own, in GB (10⁹ bytes); 0 where it has none, or does not say.
        kinds: Those that it runs without a model.
        jobs: Ids of those that it holds.
        slots: Jobs that it takes at a time; 0 while it starts.
        started_at: Unix time, seconds, by its own clock.
        known_schema: The newest schema of a record that it knows; 1 where it says nothing of it, as the first version.
        reads_lines: Whether it takes the table's messages from `names.line_of` its queues; versions before took them
            from the queues themselves.
        detached: Queues that it no longer receives jobs of, because Celery's consumer was canceled.
        adopts: Whether it makes jobs of others' messages; not if the thread that does is stuck.
        failure: Why it could not start the last time, or how its process ended; empty where neither happened.
        failed_at: When that was; as `started_at`.
    """

    name: str
    state: WorkerState | str
    models: tuple[str, ...] = ()
    loaded: tuple[str, ...] | None = None
    left_out: tuple[str, ...] = ()
    not_loaded: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    device_memory_gb: float = 0.0
    kinds: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    slots: int = 0
    started_at: float = 0.0
    known_schema: int = names.SCHEMA_VERSION
    reads_lines: bool = True
    detached: tuple[str, ...] = ()
    adopts: bool = True
    failure: str = ""
    failed_at: float = 0.0

    @property
    def queues(self) -> tuple[str, ...]:
        """Whose jobs are its to take."""
        return (*map(names.queue_of, self.models), *map(names.queue_of_kind, self.kinds))

    def serves(self, queue: str) -> bool:
        """Whether it takes jobs of a queue."""
        return self.state in TAKES_JOBS and queue in self.queues and queue not in self.detached

    def has(self, queue: str) -> bool:
        """Whether jobs of a queue that it serves can begin at once: no model has to be loaded for them."""
        model = names.model_of(queue)
        return self.loaded is None or model is None or model in self.loaded

    def will_serve(self, queue: str) -> bool:
        """Whether it does, or is about to, when it has loaded its models."""
        return self.serves(queue) or (self.state == "starting" and queue in self.queues)

    def makes_jobs_for(self, queue: str) -> bool:
        """Whether it makes jobs of what others send to a queue."""
        return self.state in _IS_UP and self.adopts and self.reads_lines and queue in self.queues


class Fleet:
    """Reports of workers in Redis, each with an expiry."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._scripts = Scripts(client, settings)

    def report(self, worker: WorkerReport, expiry_s: int | None = None) -> None:
        """Say where a worker is; for two leases, 30 s at least while it starts, or `expiry_s` where that is given."""
        least_s = _STARTING_S if worker.state == "starting" else 2.0
        self._scripts.run(
            "report",
            name=worker.name,
            report=json.dumps(asdict(worker)),
            expiry_s=expiry_s or int(max(least_s, 2 * self._settings.lease_s)),
            **self._slots_of(worker),
        )

    def count_in(self, worker: WorkerReport) -> None:
        """Have the slots of a worker count that cannot say it itself, for its version does not; for two leases, too."""
        self._scripts.run(
            "report", name=worker.name, expiry_s=max(2, int(2 * self._settings.lease_s)), **self._slots_of(worker)
        )

    def _slots_of(self, worker: WorkerReport) -> dict[str, Argument]:
        """
        A draining worker takes no more jobs, a starting one none yet, a detached one none of some queues, and one that
        loads models when jobs wait for them none of those that it has not loaded.
        """
        return {
            "queues": worker.queues,
            "slots": [worker.slots if worker.serves(each) and worker.has(each) else 0 for each in worker.queues],
        }

    def note_failure(self, worker: WorkerReport, why: str) -> None:
        """A worker could not start, or ended by itself: listed with a sentence for some minutes, or until it starts."""
        failed = replace(worker, state="failed", jobs=(), failure=why, failed_at=time.time())
        self.report(failed, FAILURE_SHOWN_S)

    def find(self, name: str) -> WorkerReport | None:
        """What a worker said last; None where that is not known any more."""
        with map_errors(self._settings):
            report = self._redis.get(names.worker_key(name))
        return _parse(name, str(report)) if report else None

    def leave(self, name: str) -> None:
        """A worker that ends in order says so."""
        with map_errors(self._settings):
            report = cast("str | None", self._redis.getdel(names.worker_key(name)))
            worker = _parse(name, report) if report else None
            for queue in worker.queues if worker else ():
                self._redis.hdel(names.slots_key(queue), name)
                self._redis.delete(names.state_key(queue), names.capacity_key(queue))

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
    """A report as it is in Redis."""

    name: str
    state: str
    models: tuple[str, ...] = ()
    loaded: tuple[str, ...] | None = None
    left_out: tuple[str, ...] = ()
    not_loaded: dict[str, str] = {}
    device: str = ""
    device_memory_gb: float = 0.0
    kinds: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    slots: int = 0
    started_at: float = 0.0
    known_schema: int = 1
    reads_lines: bool = False
    detached: tuple[str, ...] = ()
    adopts: bool = True
    failure: str = ""
    failed_at: float = 0.0


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


def device_of(worker: WorkerReport) -> str:
    """What it computes on, with its memory, for people."""
    return f"{worker.device}, {worker.device_memory_gb:.1f} GB" if worker.device_memory_gb else worker.device


def troubles_of(worker: WorkerReport) -> list[str]:
    """What is wrong with a worker, each in a sentence; nothing, most of the time."""
    troubles = []
    if worker.detached:
        troubles.append(f"was asked to stop receiving jobs of {', '.join(worker.detached)}")
    troubles += [f"cannot load {model}: {why}" for model, why in worker.not_loaded.items()]
    if not worker.adopts:
        troubles.append("makes no jobs of plain Celery messages: its thread is stuck")
    ago_s = time.time() - worker.failed_at
    if worker.failure and (worker.state == "failed" or ago_s < FAILURE_SHOWN_S):
        troubles.append(f"failed {max(0.0, ago_s):.0f} s ago: {worker.failure}")
    return troubles
