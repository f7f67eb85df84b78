"""What a job costs Redis by the way it was submitted, read by a client or not."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha1
from typing import Any, cast

from celery import Celery

from jobs import names
from jobs.announce.celery import PROTOCOL
from jobs.scripts.scripts import script_names, source_of
from ops.bench.report.report import Figure
from ops.bench.system.fleet import ChangingFleet
from ops.bench.system.redis_calls import RedisCalls

_PATIENCE_S = 600.0
_LOOK_EVERY_S = 0.2
_LOGGED_US = 5  # Redis notes what takes longer: scripts do, and what they run does not.
_MOST_LOGGED = 200_000
_MOST = {False: 60, True: 80}  # commands of a job that no client reads, by `is_celery`
_MOST_SCRIPT_MS = 0.25
_SHOWN = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionPath:
    """
    A way to submit a job.

    Attributes:
        is_celery: By plain Celery, with a result; else by a client of ours.
        is_read: Somebody reads each job every few seconds.
    """

    is_celery: bool
    is_read: bool

    @property
    def name(self) -> str:
        """For people."""
        sent = "plain Celery, with a result" if self.is_celery else "HTTP"
        return f"{sent}, {'read' if self.is_read else 'nobody reads'}"


SUBMISSION_PATHS = [
    SubmissionPath(is_celery=is_celery, is_read=is_read) for is_celery in (False, True) for is_read in (False, True)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """
    Of a job.

    Attributes:
        script_ms: Time in each script, as Redis notes it.
        redis_ms: Processor time of Redis' process.
    """

    redis: RedisCalls
    script_ms: dict[str, float]
    redis_ms: float


def measure(fleet: ChangingFleet, path: SubmissionPath, model: str, count: int) -> Cost:
    """A number of jobs by one way, one after the other, until each has ended and its sender is notified."""
    ended = int(fleet.redis.xlen(names.ENDS))
    with _noted(fleet) as script_ms:
        before, cpu_s = RedisCalls.so_far(fleet.redis), fleet.cpu_s()["redis"]
        ids = _send(fleet, path, model, count)
        with _read(fleet, ids if path.is_read else []):
            _wait(fleet, ended + count)
        spent_s = fleet.cpu_s()["redis"] - cpu_s
        calls = RedisCalls.so_far(fleet.redis).since(before, count)
    return Cost(
        redis=calls, script_ms={name: ms / count for name, ms in script_ms.items()}, redis_ms=1000 * spent_s / count
    )


def _send(fleet: ChangingFleet, path: SubmissionPath, model: str, count: int) -> Sequence[str]:
    if not path.is_celery:
        return [fleet.client.submit(f"picture {index}", model=model).id for index in range(count)]
    url = fleet.client.parts.settings.redis_url
    with Celery(broker=url, backend=url, set_as_current=False) as app:
        options: dict[str, Any] = {"queue": names.queue_of(model)}
        return [
            str(app.send_task(names.GENERATE_TASK, kwargs={"prompt": f"picture {index}"}, **options).id)
            for index in range(count)
        ]


@contextmanager
def _read(fleet: ChangingFleet, ids: Sequence[str]) -> Iterator[None]:
    """Somebody has a page with all of them open."""
    is_over = threading.Event()

    def read() -> None:
        while ids and not is_over.wait(_LOOK_EVERY_S):
            fleet.client.parts.table.watch(ids)

    reader = threading.Thread(target=read, name="reader")
    reader.start()
    try:
        yield
    finally:
        is_over.set()
        reader.join()


def _wait(fleet: ChangingFleet, ends: int) -> None:
    """By few questions, for Redis counts them."""
    deadline = time.monotonic() + _PATIENCE_S
    while fleet.redis.xlen(names.ENDS) < ends or fleet.redis.exists(names.outbox_key(PROTOCOL)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the jobs did not end within {_PATIENCE_S:g} s")
        time.sleep(_LOOK_EVERY_S)


@contextmanager
def _noted(fleet: ChangingFleet) -> Iterator[dict[str, float]]:
    """Time in each script meanwhile (ms), by its name, known at the end."""
    before = fleet.redis.config_get("slowlog-*")
    found: dict[str, float] = {}
    fleet.redis.config_set("slowlog-max-len", _MOST_LOGGED)
    fleet.redis.config_set("slowlog-log-slower-than", _LOGGED_US)
    fleet.redis.slowlog_reset()
    try:
        yield found
        found.update(_by_script(fleet.redis.slowlog_get(_MOST_LOGGED)))
    finally:
        for name, value in cast("dict[str, str]", before).items():
            fleet.redis.config_set(name, value)
        fleet.redis.slowlog_reset()


def _by_script(entries: Sequence[dict[str, Any]]) -> dict[str, float]:
    known = {sha1(source_of(name).encode(), usedforsecurity=False).hexdigest(): name for name in script_names()}
    found: dict[str, float] = {}
    for each in entries:
        command = each["command"]
        words = (command.decode("utf-8", "replace") if isinstance(command, bytes) else str(command)).split(" ", 2)
        if words[0].upper() not in ("EVALSHA", "EVAL"):
            continue
        name = known.get(words[1], "Celery's result")
        found[name] = found.get(name, 0.0) + each["duration"] / 1000
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def path_figures(costs: Mapping[str, Sequence[Cost]]) -> list[Figure]:
    """Of each way; by command and by script where nobody reads, and how many such jobs one Redis is good for."""
    found = []
    for path in SUBMISSION_PATHS:
        rounds = costs[path.name]
        most = None if path.is_read else _MOST[path.is_celery]
        most_ms = None if path.is_read else _MOST_SCRIPT_MS
        found += [
            Figure(what=f"{path.name}: commands of a job", value=_median(rounds, _total), target=most, at_most=True),
            Figure(
                what="… time in scripts", value=_median(rounds, _script_ms), unit="ms", target=most_ms, at_most=True
            ),
            Figure(what="… of one Redis", value=_median(rounds, _jobs_per_s), unit="jobs/s"),
        ]
        if not path.is_read:
            found += [Figure(what=f"… {name.upper()}", value=calls) for name, calls in _by_command(rounds).items()]
            found += [Figure(what=f"… in {name}", value=ms, unit="ms") for name, ms in _by_script_of(rounds).items()]
    return found


def _median(rounds: Sequence[Cost], of: Callable[[Cost], float]) -> float:
    return statistics.median(of(each) for each in rounds)


def _total(cost: Cost) -> float:
    return cost.redis.total


def _script_ms(cost: Cost) -> float:
    return 1000 * cost.redis.busy_s


def _jobs_per_s(cost: Cost) -> float:
    """Redis computes on one core."""
    return 1000 / cost.redis_ms if cost.redis_ms else 0.0


def _by_command(rounds: Sequence[Cost]) -> dict[str, float]:
    return _shown([each.redis.by_command for each in rounds])


def _by_script_of(rounds: Sequence[Cost]) -> dict[str, float]:
    return _shown([each.script_ms for each in rounds])


def _shown(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Medians by name, the largest first."""
    every = {name for each in rounds for name in each}
    values = {name: statistics.median(each.get(name, 0.0) for each in rounds) for name in every}
    return dict(sorted(values.items(), key=lambda item: -item[1])[:_SHOWN])
