"""The whole system's figures, read from Redis when Prometheus asks, and kept for a moment."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobs.announce.announcer import PROTOCOLS
from jobs.errors import ErrorCode, ImagemillError
from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.kinds.registry import queues_for
from jobs.scripts.ranks import PRIORITY_RANK
from jobs.table.figures import FigureReader, Figures, QueueFigures
from jobs.table.states import Status
from producer.api.metrics.messages import QUEUE, labels_of, of_ends, of_messages

log = structlog.get_logger()

_KEEP_S = 2.0
_ANSWER_S = 3.0  # Well within Prometheus' patience: that Redis is away has to be seen.
_STATES = ("starting", "ready", "busy", "draining", "detached", "failed")
_NO_FIGURES = QueueFigures(
    queue="",
    queued=dict.fromkeys(PRIORITY_RANK, 0),
    oldest_s=dict.fromkeys(PRIORITY_RANK, 0.0),
    released=0,
    running=0,
    is_paused=False,
    submitted=0,
    ended={},
    failed={},
    lapsed=0,
)


class SystemFigures(Collector):
    """
    Asks Redis at most every two seconds, however many scrape, and one thread at a time, however long that takes.

    Args:
        models: Of the catalogue: their queues are shown before they have a job, and so are those of kinds without one.
        clock: In seconds.
        answer_s: How long a scrape waits for Redis.
    """

    def __init__(
        self,
        reader: FigureReader,
        fleet: Fleet,
        models: Iterable[str],
        clock: Callable[[], float] = time.monotonic,
        answer_s: float = _ANSWER_S,
    ) -> None:
        self._reader = reader
        self._fleet = fleet
        self._queues = queues_for(models)
        self._clock = clock
        self._answer_s = answer_s
        self._news = threading.Condition()  # guards what follows
        self._is_asking = False
        self._kept_at = -_KEEP_S
        self._kept: list[Metric] = [_redis_up(False)]

    def describe(self) -> list[Metric]:
        """Nothing, so that being registered is no scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families of one scrape; where Redis does not answer, that alone."""
        with self._news:
            if self._clock() >= self._kept_at + _KEEP_S:
                if not self._is_asking:
                    self._is_asking = True
                    threading.Thread(target=self._ask, name="figures", daemon=True).start()
                if not self._news.wait_for(lambda: not self._is_asking, self._answer_s):
                    self._kept = [_redis_up(False)]
            kept = self._kept
        yield from kept

    def _ask(self) -> None:
        families = [_redis_up(False)]
        try:
            families = list(self._families(self._reader.read(), self._fleet.workers()))
        except ImagemillError as exc:
            log.warning("no figures for metrics", reason=str(exc))
        finally:
            with self._news:
                self._kept, self._kept_at, self._is_asking = families, self._clock(), False
                self._news.notify_all()

    def _families(self, figures: Figures, workers: list[WorkerReport]) -> Iterator[Metric]:
        known = {each.queue: each for each in figures.queues}
        queues = {queue: known.get(queue, _NO_FIGURES) for queue in sorted({*self._queues, *known})}
        yield from (_redis_up(True), *_of_queues(queues), *_of_history(queues), _of_workers(list(queues), workers))
        yield from of_messages(queues, figures.held, self._reader.backlog(queues), workers)
        yield from of_ends(self._reader.ends(PROTOCOLS))
        yield from _of_redis(figures)


def _redis_up(is_up: bool) -> Metric:
    return GaugeMetricFamily("imagemill_redis_up", "Whether Redis answers this process.", value=is_up)


def _of_queues(queues: dict[str, QueueFigures]) -> Iterator[Metric]:
    queued = GaugeMetricFamily("imagemill_queued_jobs", "Jobs that have not begun.", labels=[*QUEUE, "priority"])
    oldest = GaugeMetricFamily(
        "imagemill_oldest_queued_seconds",
        "How long the oldest job that has not begun has been there; 0 where there is none.",
        labels=[*QUEUE, "priority"],
    )
    released = GaugeMetricFamily(
        "imagemill_released_jobs", "Of the queued jobs, those that workers are offered.", labels=QUEUE
    )
    later = GaugeMetricFamily("imagemill_later_jobs", "Jobs that are not to begin yet.", labels=QUEUE)
    running = GaugeMetricFamily("imagemill_processing_jobs", "Jobs that a worker holds.", labels=QUEUE)
    paused = GaugeMetricFamily("imagemill_queue_paused", "1 where an operator has paused the queue.", labels=QUEUE)
    for queue, each in queues.items():
        labels = labels_of(queue)
        for priority in PRIORITY_RANK:
            queued.add_metric([*labels, priority], each.queued[priority])
            oldest.add_metric([*labels, priority], each.oldest_s[priority])
        released.add_metric(labels, each.released)
        later.add_metric(labels, each.later)
        running.add_metric(labels, each.running)
        paused.add_metric(labels, each.is_paused)
    yield from (queued, oldest, released, later, running, paused)


def _of_history(queues: dict[str, QueueFigures]) -> Iterator[Metric]:
    submitted = CounterMetricFamily(
        "imagemill_jobs_submitted", "Jobs that were queued, replays included.", labels=QUEUE
    )
    ended = CounterMetricFamily("imagemill_jobs_ended", "Jobs that ended, by how.", labels=[*QUEUE, "status"])
    failed = CounterMetricFamily(
        "imagemill_jobs_failed", "Jobs that failed, by the code of their error.", labels=[*QUEUE, "code"]
    )
    lapsed = CounterMetricFamily(
        "imagemill_leases_lapsed", "Jobs that were taken back from a worker that said nothing any more.", labels=QUEUE
    )
    for queue, each in queues.items():
        labels = labels_of(queue)
        submitted.add_metric(labels, each.submitted)
        for status in (status for status in Status if status.is_terminal):
            ended.add_metric([*labels, status], each.ended.get(status, 0))
        for code in dict.fromkeys([*ErrorCode, *each.failed]):
            failed.add_metric([*labels, code], each.failed.get(code, 0))
        lapsed.add_metric(labels, each.lapsed)
    yield from (submitted, ended, failed, lapsed)


def _of_workers(queues: list[str], workers: list[WorkerReport]) -> Metric:
    counts: Counter[tuple[str, str]] = Counter(
        (queue, "detached" if queue in each.detached else each.state) for each in workers for queue in each.queues
    )
    states = sorted({each.state for each in workers})
    family = GaugeMetricFamily(
        "imagemill_workers",
        "Workers that say they are there, by what they do: starting, ready, busy, draining, detached, failed.",
        labels=[*QUEUE, "state"],
    )
    for queue in queues:
        for state in dict.fromkeys([*_STATES, *states]):
            family.add_metric([*labels_of(queue), state], counts[queue, state])
    return family


def _of_redis(figures: Figures) -> Iterator[Metric]:
    gauges = [
        ("imagemill_dead_jobs", "Jobs on the list of the dead: they lost their worker every time.", figures.dead),
        ("imagemill_kept_jobs", "Jobs that have a record, ended ones included.", figures.kept),
    ]
    if (memory := figures.memory) is not None:  # Its user may not ask for it.
        gauges += [
            ("imagemill_redis_memory_used_bytes", "Memory that Redis uses.", memory.used_bytes),
            ("imagemill_redis_memory_max_bytes", "Its bound (maxmemory); 0 for none.", memory.max_bytes),
        ]
    for name, text, value in gauges:
        yield GaugeMetricFamily(name, text, value=value)
