"""How many rows a forward pass should have: measured for each model and class of sizes, and remembered in a file."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import structlog
from filelock import FileLock

from workers.engine.adapter import AnyAdapter
from workers.engine.errors import is_fatal, is_out_of_memory
from workers.engine.run import Run

log = structlog.get_logger()

WORTH_DOUBLING = 1.10  # a pass of twice the rows has to give this much more throughput
_MOST_ROWS = 256
_TRIES = 5
_SHORTEST_S = 1e-9  # nothing takes no time
_PASSES_UNTIL_RAISED = 500


@dataclass(frozen=True, kw_only=True)
class PassTimes:
    """
    T(B) of one cost key.

    Attributes:
        seconds: Of a pass by its rows, ascending; the fastest of one job, times what each doubling was found to cost.
    """

    seconds: dict[int, float]

    @cached_property  # It is asked for each job and pass.
    def best_rows(self) -> int:
        """The size whose doubling is not worth it."""
        sizes = list(self.seconds)
        for rows, doubled in pairwise(sizes):
            if _throughput(self.seconds, doubled) < WORTH_DOUBLING * _throughput(self.seconds, rows):
                return rows
        return sizes[-1]

    @cached_property
    def seconds_per_row(self) -> float:
        """A row's share of a pass of the best size."""
        return self.seconds[self.best_rows] / self.best_rows


def measure(adapter: AnyAdapter, run: Run, clock: Callable[[], float]) -> PassTimes:
    """
    Time passes of one job, two of it, four, … until doubling is not worth it, or fails.

    A pass of several may fail where one of a single job does not: for want of memory, or because a model takes no two.
    """
    trial = adapter.trial(run)

    def time_pass(count: int) -> float:
        started = clock()
        adapter.predict([trial] * count, count * trial.rows, lambda _step: None)
        return max(clock() - started, _SHORTEST_S)

    time_pass(1)
    rows, count = trial.rows, 1
    seconds = {rows: min(time_pass(1) for _ in range(_TRIES))}
    while PassTimes(seconds=seconds).best_rows == rows and 2 * rows <= _MOST_ROWS:
        try:
            doubled_s = seconds[rows] * _cost_of_doubling(time_pass, count)
        except Exception as exc:
            if is_fatal(exc):
                raise
            if not is_out_of_memory(exc):
                log.warning("passes of more rows fail", key=str(run.cost_key), rows=2 * rows, reason=str(exc))
            break
        rows, count = 2 * rows, 2 * count
        seconds[rows] = doubled_s
    return PassTimes(seconds=seconds)


def _cost_of_doubling(time_pass: Callable[[int], float], count: int) -> float:
    """
    How many times as long a pass of twice as many jobs takes: the median of several pairs.

    One after the other, for a machine that is shared is a third faster or slower for seconds at a time; where each size
    had its own time, that decided which was best, and what is measured here is kept for long.
    """
    time_pass(2 * count)  # The first one warms up.
    pairs = [(time_pass(count), time_pass(2 * count)) for _ in range(_TRIES)]
    return statistics.median(doubled_s / single_s for single_s, doubled_s in pairs)


def _throughput(seconds: dict[int, float], rows: int) -> float:
    return rows / max(seconds[rows], _SHORTEST_S)


class Capacity:
    """
    Rows for each cost key, as measured, less where memory turned out to be short. The denoiser's thread owns it.

    Args:
        file: Where measurements are kept; None keeps none.
        device: What the measurements hold for: device, library and thread count.
    """

    def __init__(
        self, file: Path | None = None, device: str = "", clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._file = file
        self._device = device
        self._clock = clock
        self._known: dict[Hashable, PassTimes] = {}
        self._ceilings: dict[Hashable, _Ceiling] = {}

    def knows(self, run: Run) -> bool:
        """Whether this process knows the times of this job's cost key."""
        return run.cost_key in self._known

    def learn(self, adapter: AnyAdapter, run: Run) -> PassTimes:
        """The times of this job's cost key; measured where neither this process nor the file knows them."""
        key = run.cost_key
        if not self.knows(run):
            name = f"{self._device} {key} {adapter.trial(run).rows}"
            self._known[key] = self._read(name) or self._measure(adapter, run, name)
        return self._known[key]

    def max_rows(self, run: Run, at_least: int = 0) -> int:
        """
        How many rows a pass of such jobs should have; `learn` has seen one.

        Args:
            at_least: That it has though fewer were found best; only memory bounds these.
        """
        best = max(self._known[run.cost_key].best_rows, at_least)
        ceiling = self._ceilings.get(run.cost_key)
        return best if ceiling is None else min(best, ceiling.rows)

    def seconds_per_row(self, run: Run) -> float:
        """What a row of a pass costs; `learn` has seen such a job."""
        return self._known[run.cost_key].seconds_per_row

    def pass_s(self, run: Run) -> float:
        """The longest pass that was measured; `learn` has seen such a job."""
        return max(self._known[run.cost_key].seconds.values())

    def note_pass(self, run: Run, requested_rows: int, fitting_rows: int) -> None:
        """Lower the rows where memory was short, and try more again after a while."""
        key = run.cost_key
        ceiling = self._ceilings.get(key)
        if fitting_rows < requested_rows:
            self._ceilings[key] = _Ceiling(rows=fitting_rows)
        elif ceiling is not None:
            ceiling.clean_passes += 1
            if ceiling.clean_passes >= _PASSES_UNTIL_RAISED:
                self._ceilings[key] = _Ceiling(rows=ceiling.rows * 2)

    def _measure(self, adapter: AnyAdapter, run: Run, name: str) -> PassTimes:
        times = measure(adapter, run, self._clock)
        shown = {rows: round(seconds, 5) for rows, seconds in times.seconds.items()}
        log.info("batch size measured", key=str(run.cost_key), seconds=shown, rows=times.best_rows)
        self._write(name, times)
        return times

    def _read(self, name: str) -> PassTimes | None:
        try:
            seconds = {int(rows): float(seconds) for rows, seconds in self._load().get(name, {}).items()}
        except (ValueError, TypeError, AttributeError):  # Somebody else's file: measure, and write it anew.
            return None
        return PassTimes(seconds=dict(sorted(seconds.items()))) if seconds else None

    def _write(self, name: str, times: PassTimes) -> None:
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(
                self._file.with_suffix(".lock")
            ):  # A worker's processes start together, and measure together.
                partial = self._file.with_suffix(".partial")
                partial.write_text(json.dumps(self._load() | {name: times.seconds}, indent=1), "utf-8")
                partial.replace(self._file)
        except OSError as exc:
            log.warning("measured batch size not kept", file=str(self._file), reason=str(exc))

    def _load(self) -> dict[str, Any]:
        if self._file is None:
            return {}
        try:
            found = json.loads(self._file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(slots=True, kw_only=True)
class _Ceiling:
    rows: int
    clean_passes: int = 0
