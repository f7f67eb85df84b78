"""Loads models when jobs wait for them, in the place of others; what runs on goes on beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import structlog

from jobs import names
from jobs.errors import InvalidConfiguration, RedisUnavailable
from jobs.fleet.fleet import Fleet
from jobs.fleet.loads import EXPIRY_S, Loads
from jobs.table.figures import FigureReader
from storage.errors import StorageUnavailable
from workers.attempt.metrics import WorkerMetrics
from workers.attempt.residents import Residents
from workers.process.loader import Loader
from workers.process.residency.budget import Budget
from workers.process.residency.lines import ReadLines
from workers.process.residency.policy import Demand, Load, Look, Waiting, choose

log = structlog.get_logger()

_LOOK_EVERY_S = 1.0
_FIRST_LOAD_S = 10.0  # that a load is taken for before any was measured
_NEWEST = 0.3  # of a load's time in the mean of all
_SAY_EVERY_S = EXPIRY_S / 4


class Swapper:
    """
    The one thread that changes which models a worker has.

    A model that cannot be loaded is not tried again by this process: what is wrong with it will be wrong the next time.

    Attributes:
        failures: Why those models could not be loaded that could not, by name; replaced, and never changed.

    Args:
        name: Of the worker.
        on_change: Called after each change, so that the worker reports it at once.
        stopping: Set when the worker begins to stop.
    """

    def __init__(
        self,
        *,
        name: str,
        budget: Budget,
        loader: Loader,
        residents: Residents,
        lines: ReadLines,
        figures: FigureReader,
        fleet: Fleet,
        loads: Loads,
        metrics: WorkerMetrics,
        on_change: Callable[[], None],
        stopping: threading.Event,
        unload_idle_s: float | None = None,
    ) -> None:
        self._name = name
        self._budget = budget
        self._loader = loader
        self._residents = residents
        self._lines = lines
        self._figures = figures
        self._fleet = fleet
        self._loads = loads
        self._metrics = metrics
        self._on_change = on_change
        self._unload_idle_s = unload_idle_s
        self._load_s: float | None = None
        self._stopping = stopping
        self.demand = Demand(_FIRST_LOAD_S)
        self.failures: dict[str, str] = {}

    def run(self) -> None:
        """Until the worker begins to stop."""
        while not self._stopping.wait(_LOOK_EVERY_S):
            try:
                self.run_once()
            except RedisUnavailable as exc:
                log.warning("which models are asked for is not known", reason=str(exc))

    def run_once(self) -> None:
        """
        Look, and swap where it is worth it.

        Raises:
            RedisUnavailable: It is not known what waits, or who loads what.
        """
        look = self._look()
        choice = choose(look)
        if isinstance(choice, Load):
            self._swap(choice)
        elif self._unload_idle_s is not None:
            now_s = time.monotonic()
            for model, used_s in look.loaded.items():
                if model not in look.waiting and now_s - used_s > self._unload_idle_s:
                    self._unload(model, "nobody has asked for it for a while")

    def _look(self) -> Look:
        loaded = {model: at for model, at in self._residents.used_at().items() if model not in self._budget.pinned}
        pinned_gb = sum(self._budget.gb[each] for each in self._budget.pinned)
        served = {model: gb for model, gb in self._budget.gb.items() if model not in self._budget.pinned}
        return Look(
            loaded=loaded,
            waiting=self._waiting(served),
            elsewhere=self._elsewhere(served),
            demand=self.demand.at(time.monotonic()),
            gb=served,
            room_gb=self._budget.room_gb - pinned_gb,
            load_s=self._load_s or _FIRST_LOAD_S,
        )

    def _waiting(self, served: Mapping[str, float]) -> dict[str, Waiting]:
        found = {}
        for queue in self._figures.read().queues:
            model, jobs = names.model_of(queue.queue), sum(queue.queued.values())
            if model is None or model not in served or model in self.failures or queue.is_paused:
                continue
            if jobs:
                found[model] = Waiting(jobs=jobs, oldest_s=max(queue.oldest_s.values()))
        return found

    def _elsewhere(self, served: Mapping[str, float]) -> set[str]:
        """Models that another worker has, or loads."""
        others = [each for each in self._fleet.workers() if each.name != self._name]
        models = list(served)
        queues = {model: names.queue_of(model) for model in models}
        there = {m for m, queue in queues.items() if any(each.serves(queue) and each.has(queue) for each in others)}
        return there | self._loads.of_others(models)

    def _swap(self, choice: Load) -> None:
        model = choice.model
        if not self._loads.take(model):
            return
        over = threading.Event()
        saying = threading.Thread(target=self._say_until, args=(over, model), name="loading", daemon=True)
        saying.start()
        try:
            if all(self._unload(each, f"{model} takes its place") for each in choice.evicts):
                self._load(model)
        finally:
            over.set()
            saying.join()
            self._loads.end(model)
            self._on_change()

    def _load(self, model: str) -> None:
        began_s = time.monotonic()
        log.info("loading a model that jobs wait for", model=model)
        try:
            for adapter in self._loader.read([model]):
                self._loader.put(adapter)
        except InvalidConfiguration as exc:
            log.error("model not loaded: this process does not try it again", model=model, reason=str(exc))
            self.failures = self.failures | {model: str(exc)}
            self._metrics.note_load(model, None)
            return
        except StorageUnavailable as exc:
            log.warning("model not copied from the store; it is tried again", model=model, reason=str(exc))
            return
        took_s = time.monotonic() - began_s
        self._load_s = took_s if self._load_s is None else (1 - _NEWEST) * self._load_s + _NEWEST * took_s
        self._metrics.note_load(model, took_s)
        self._residents.add(model)
        self._lines.open(model)
        log.info("model loaded because jobs wait for it", model=model, seconds=round(took_s, 2))

    def _unload(self, model: str, why: str) -> bool:
        """Take no more of its jobs, wait for those that run, and drop it. Returns False where the worker stops."""
        self._lines.close(model)
        self._residents.retire(model)
        self._on_change()
        while not self._residents.wait_unused(model, _LOOK_EVERY_S):
            if self._stopping.is_set():
                return False
        self._loader.drop(model)
        self._metrics.note_unload(model)
        log.info("model unloaded", model=model, reason=why)
        return True

    def _say_until(self, over: threading.Event, model: str) -> None:
        while not over.wait(_SAY_EVERY_S):
            try:
                self._loads.keep(model)
            except RedisUnavailable as exc:
                log.warning("not said which model is being loaded", model=model, reason=str(exc))
