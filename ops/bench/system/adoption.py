"""How soon jobs are made of plain Celery's messages by a worker that has enough to do: of many, and of one alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from celery import Celery

from jobs import names
from ops.bench.report.report import Figure
from ops.bench.system.fleet import ChangingFleet

_BACKLOG = 10_000
_LONE = 20
_BETWEEN = (0.1, 0.9)  # of the backlog: before, the worker starts, and behind it is the last, smaller bunch
_PATIENCE_S = 600.0
_LOOK_EVERY_S = 0.005
_LEAST_PER_S = 1_000.0
_MOST_DELAY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """
    One worker's adoption, once.

    Attributes:
        per_s: Jobs made of a backlog in a second.
        delays_s: From sending one message until there is its job; all slots of the worker are taken.
    """

    per_s: float
    delays_s: list[float]


def measure(fleet: ChangingFleet, model: str) -> Adopted:
    """Nothing is left behind: the jobs that were made are forgotten, and Redis is empty."""
    fleet.set_size(0)
    fleet.redis.flushdb()
    url = fleet.client.parts.settings.redis_url
    with Celery(broker=url, set_as_current=False) as app:
        for _ in range(_BACKLOG):
            _send(app, model)
        fleet.set_size(1)
        per_s = _rate(fleet)
        delays_s = [_delay(fleet, app, model) for _ in range(_LONE)]
    fleet.set_size(0)
    fleet.redis.flushdb()
    return Adopted(per_s=per_s, delays_s=delays_s)


def _send(app: Celery, model: str) -> str:
    options: dict[str, Any] = {"queue": names.queue_of(model), "ignore_result": True}
    return str(app.send_task(names.GENERATE_TASK, kwargs={"prompt": "a picture"}, **options).id)


def _rate(fleet: ChangingFleet) -> float:
    first, last = (int(share * _BACKLOG) for share in _BETWEEN)
    began, before = _when(fleet, first)
    ended, after = _when(fleet, last)
    _when(fleet, _BACKLOG)
    return (after - before) / (ended - began)


def _when(fleet: ChangingFleet, jobs: int) -> tuple[float, int]:
    """A moment at which there are so many jobs or a few more, and how many there are."""
    deadline = time.monotonic() + _PATIENCE_S
    while (made := int(fleet.redis.zcard(names.JOBS))) < jobs:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{made} of {jobs} messages were made jobs within {_PATIENCE_S:g} s")
        time.sleep(_LOOK_EVERY_S)
    return time.perf_counter(), made


def _delay(fleet: ChangingFleet, app: Celery, model: str) -> float:
    sent = time.perf_counter()
    job_id = _send(app, model)
    while not fleet.redis.exists(names.job_key(job_id)):
        if time.perf_counter() > sent + _PATIENCE_S:
            raise TimeoutError(f"no job was made of a message within {_PATIENCE_S:g} s")
        time.sleep(_LOOK_EVERY_S)
    return time.perf_counter() - sent


def adoption_figures(rounds: Sequence[Adopted]) -> list[Figure]:
    """Medians; of the delays the largest, too."""
    delays = [each for one in rounds for each in one.delays_s]
    return [
        Figure(
            what="jobs made of a backlog of messages by one busy worker",
            value=statistics.median(each.per_s for each in rounds),
            unit="jobs/s",
            target=_LEAST_PER_S,
        ),
        Figure(what="… of one message that comes alone", value=statistics.median(delays), unit="s"),
        Figure(what="… at most", value=max(delays), unit="s", target=_MOST_DELAY_S, at_most=True),
    ]
