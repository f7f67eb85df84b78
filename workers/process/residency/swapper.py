"""Loads models when jobs wait for them, in the place of others; what runs on goes on beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

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
_AWAY_S = 30.0  # after which a model whose store was away is tried again; others are loaded meanwhile
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
        look_again: Has jobs that wait for a slot look whether their model is still there.
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
        look_again: Callable[[], None],
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
        self._look_again = look_again
        self._unload_idle_s = unload_idle_s
        self._load_s: float | None = None
        self._stopping = stopping
        self.demand = Demand(_FIRST_LOAD_S)
        self.failures: dict[str, str] = {}
        self._away_until: dict[str, float] = {}

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
        self._lines.settle()
        look = self._look()
        choice = choose(look)
        if isinstance(choice, Load):
            self._swap(choice, look.elsewhere)
        elif self._unload_idle_s is not None:
            now_s = time.monotonic()
            for model, used_s in look.loaded.items():
                if model not in look.waiting and now_s - used_s > self._unload_idle_s:
                    self._swap(Load(model=None, evicts=(model,)), ())

    def _look(self) -> Look:
        pinned = self._budget.pinned
        served = {model: gb for model, gb in self._budget.gb.items() if model not in pinned}
        return Look(
            loaded={model: at for model, at in self._residents.used_at().items() if model not in pinned},
            waiting=self._waiting(served),
            in_use=self._residents.in_use(),
            elsewhere=self._elsewhere(served),
            demand=self.demand.at(time.monotonic()),
            gb=served,
            room_gb=self._budget.room_gb - sum(self._budget.gb[each] for each in pinned),
            load_s=self._load_s or _FIRST_LOAD_S,
        )

    def _waiting(self, served: Mapping[str, float]) -> dict[str, Waiting]:
        """Jobs that no worker has, and those that this one has which do not run yet."""
        found = {model: Waiting(jobs=jobs, oldest_s=0.0) for model, jobs in self._residents.awaited().items()}
        for queue in self._figures.read().queues:
            model, jobs = names.model_of(queue.queue), sum(queue.queued.values())
            if model is not None and jobs and not queue.is_paused and self._takes(model, queue.queue):
                here = found[model].jobs if model in found else 0
                found[model] = Waiting(jobs=jobs + here, oldest_s=max(queue.oldest_s.values()))
        return {model: each for model, each in found.items() if model in served}

    def _takes(self, model: str, queue: str) -> bool:
        is_away = self._away_until.get(model, 0.0) > time.monotonic()
        return model not in self.failures and not is_away and not self._lines.is_left_out(queue)

    def _elsewhere(self, served: Mapping[str, float]) -> set[str]:
        """Models that another worker loads, or has."""
        loading = self._loads.of_others(list(served))  # First, for it has them before it says that it no longer does.
        others = [each for each in self._fleet.workers() if each.name != self._name]
        queues = {model: names.queue_of(model) for model in served}
        there = {m for m, queue in queues.items() if any(each.serves(queue) and each.has(queue) for each in others)}
        return there | loading

    def _swap(self, choice: Load, elsewhere: Collection[str]) -> None:
        """
        Unload some, and load one in their place; or none.

        Until nobody uses those that go, they are only closed, and the model is anybody's to load: who has long jobs
        holds up nobody else. Where another worker has taken it meanwhile, all stays as it was.

        Args:
            elsewhere: Models that others had when this was chosen; of one of them it is a second copy.
        """
        for each in choice.evicts:
            self._lines.close(each)
            self._residents.retire(each)
        if choice.evicts:
            self._look_again()
            self._on_change()
        is_swapped = False
        try:
            has_room = self._wait_for_room(choice, elsewhere)
            is_swapped = has_room and (choice.model is None or self._loads.take(choice.model))
        finally:
            if not is_swapped:
                self._undo(choice)
        if not is_swapped:
            return
        for each in choice.evicts:
            self._loader.drop(each)
            self._metrics.note_unload(each)
            log.info("model unloaded", model=each, makes_room_for=choice.model or "")
        if choice.model is None:
            self._on_change()
            return
        with self._saying_so(choice.model):
            self._load(choice.model)
            self._on_change()

    def _wait_for_room(self, choice: Load, elsewhere: Collection[str]) -> bool:
        """Wait until nobody uses what is to go. False where the worker stops, or nobody asks for the model any more."""
        while not self._residents.wait_unused(choice.evicts, _LOOK_EVERY_S):
            if self._stopping.is_set() or not self._is_asked_for(choice.model, elsewhere):
                return False
        return not self._stopping.is_set()

    def _is_asked_for(self, model: str | None, had: Collection[str]) -> bool:
        if model is None:
            return True
        try:
            served = {model: self._budget.gb[model]}
            return model in self._waiting(served) and (model in had or model not in self._elsewhere(served))
        except RedisUnavailable:
            return True

    def _undo(self, choice: Load) -> None:
        if self._stopping.is_set():  # It takes no more jobs of any.
            return
        for each in choice.evicts:
            self._residents.add(each)
            self._lines.open(each)
        if choice.evicts:
            self._on_change()

    @contextmanager
    def _saying_so(self, model: str) -> Iterator[None]:
        """Have other workers know that this one loads a model, which it has taken to load."""
        over = threading.Event()
        thread = threading.Thread(target=self._say_until, args=(over, model), name="loading", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self._loads.end(model)

    def _say_until(self, over: threading.Event, model: str) -> None:
        while not over.wait(_SAY_EVERY_S):
            try:
                self._loads.take(model)
            except RedisUnavailable as exc:
                log.warning("not said which model is being loaded", model=model, reason=str(exc))

    def _load(self, model: str) -> None:
        log.info("loading a model that jobs wait for", model=model)
        began_s = time.monotonic()
        is_loaded = self._try_to_load(model)
        if not is_loaded:
            self._loader.free()  # Here, where no error has it in its traceback any more.
            return
        took_s = time.monotonic() - began_s
        self._load_s = took_s if self._load_s is None else (1 - _NEWEST) * self._load_s + _NEWEST * took_s
        self._metrics.note_load(model, took_s)
        self._residents.add(model)
        self._lines.open(model)
        log.info("model loaded because jobs wait for it", model=model, seconds=round(took_s, 2))

    def _try_to_load(self, model: str) -> bool:
        try:
            for adapter in self._loader.read([model]):
                self._loader.put(adapter)
        except StorageUnavailable as exc:
            log.warning("model not copied from the store; it is tried again", model=model, reason=str(exc))
            self._away_until[model] = time.monotonic() + _AWAY_S
        except InvalidConfiguration as exc:
            log.error("model not loaded: this process does not try it again", model=model, reason=str(exc))
            self._note_failure(model, str(exc))
        except Exception as exc:
            log.exception("bug: model not loaded; this process does not try it again", model=model)
            self._note_failure(model, f"a bug of the worker: {exc!r}")
        else:
            return True
        return False

    def _note_failure(self, model: str, why: str) -> None:
        self.failures = self.failures | {model: why}
        self._metrics.note_load(model, None)
