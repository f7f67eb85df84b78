"""Many models on few devices, in virtual time: what the choice of what to load costs the jobs that wait."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean

from rich.console import Console
from rich.table import Table

from workers.process.residency.policy import Choice, Demand, Load, Look, Run, Waiting, choose

_LOOK_AGAIN_S = 1.0  # A device that waits asks again: patience may have ended.

Policy = Callable[[Look], Choice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """
    A stream of jobs, and the devices.

    Attributes:
        load: Work that comes, as a share of what all devices can do that never load.
        fit: Models that a device holds.
        zipf: Exponent of how popular the models are.
    """

    models: int = 8
    devices: int = 2
    fit: int = 2
    load: float = 0.7
    zipf: float = 1.0
    job_s: float = 5.0
    load_s: float = 30.0
    hours: float = 10.0
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Seconds from the coming to the end of every job, by model, and how often a model was loaded."""

    took_s: dict[str, list[float]]
    loads: int
    hours: float

    @property
    def all_s(self) -> list[float]:
        return [each for model in self.took_s.values() for each in model]


def in_order(look: Look) -> Choice:
    """Plain LRU: whoever came first is next, and what is not loaded takes the place of the least recently used."""
    others = {model: each for model, each in look.waiting.items() if model not in look.elsewhere}
    if not others:
        return None
    first = max(others, key=lambda model: others[model].oldest_s)
    return Run(model=first) if first in look.loaded else Load(model=first, evicts=_least_recent(look))


def loaded_first(look: Look) -> Choice:
    """LRU that runs what is loaded for as long as there is any, and then loads for whoever came first."""
    mine = {model: each for model, each in look.waiting.items() if model in look.loaded}
    return Run(model=max(mine, key=lambda model: mine[model].oldest_s)) if mine else in_order(look)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """
    How devices are used.

    Attributes:
        beside: Whether a device runs jobs of one model while it loads another, as a worker does.
    """

    policy: Policy
    beside: bool = False


WAYS = {
    "LRU, in order": Way(policy=in_order),
    "LRU, loaded first": Way(policy=loaded_first),
    "the same, beside": Way(policy=loaded_first, beside=True),
    "ours": Way(policy=choose, beside=True),
}


def bench_residency(effort: Effort, console: Console) -> None:
    """Print how each way does."""
    table = Table("policy", "mean, s", "p95, s", "loads an hour", "p95 of each model, s")
    for name, way in WAYS.items():
        outcome = simulate(effort, way)
        each = " ".join(f"{p95(outcome.took_s[model]):.0f}" for model in sorted(outcome.took_s))
        figures = (mean(outcome.all_s), p95(outcome.all_s), outcome.loads / outcome.hours)
        table.add_row(name, *(f"{figure:.0f}" for figure in figures), each)
    console.print(table)


def p95(values: list[float]) -> float:
    """Of a list that is not empty."""
    return sorted(values)[int(0.95 * len(values))]


def simulate(effort: Effort, way: Way) -> Outcome:
    """Run all jobs that come in the hours of an effort, to the end of the last one."""
    return _Simulation(effort, way).run()


@dataclass(slots=True, kw_only=True)
class _Device:
    """
    Attributes:
        loaded: When each model that lies there was last used; virtual seconds.
        running: The model of its last job, which ends at `free_at_s`.
        loading: The model of its last load, which ends at `loaded_at_s`.
    """

    loaded: dict[str, float]
    running: str = ""
    free_at_s: float = 0.0
    loading: str = ""
    loaded_at_s: float = 0.0


class _Simulation:
    def __init__(self, effort: Effort, way: Way) -> None:
        self._effort, self._way = effort, way
        self._names = [f"model {number}" for number in range(effort.models)]
        self._gb = dict.fromkeys(self._names, 1.0)
        self._queues: dict[str, deque[float]] = {name: deque() for name in self._names}
        self._demand = Demand(effort.load_s)
        first = iter(self._names)
        self._devices = [_Device(loaded={next(first): 0.0 for _ in range(effort.fit)}) for _ in range(effort.devices)]
        self._took_s: dict[str, list[float]] = defaultdict(list)
        self._loads = 0

    def run(self) -> Outcome:
        coming, now_s = deque(_arrivals(self._effort, self._names)), 0.0
        while coming or any(self._queues.values()):
            while coming and coming[0][0] <= now_s:
                came_s, model = coming.popleft()
                self._queues[model].append(came_s)
                self._demand.note(model, now_s)
            for device in self._devices:
                self._turn(device, now_s)
            ends = [moment for each in self._devices for moment in (each.free_at_s, each.loaded_at_s)]
            moments = [each for each in ends if each > now_s] + ([coming[0][0]] if coming else [])
            if any(self._queues.values()):
                moments.append(now_s + _LOOK_AGAIN_S)
            now_s = min(moments, default=now_s)
        return Outcome(took_s=dict(self._took_s), loads=self._loads, hours=now_s / 3600)

    def _turn(self, device: _Device, now_s: float) -> None:
        if device.loading and device.loaded_at_s <= now_s:
            device.loaded[device.loading], device.loading = now_s, ""
        is_busy = device.free_at_s > now_s
        if not self._way.beside and (is_busy or device.loading):
            return
        choice = self._way.policy(self._look(device, now_s))
        if isinstance(choice, Load) and not device.loading and not (is_busy and device.running in choice.evicts):
            self._load(device, choice, now_s)
            choice = self._way.policy(self._look(device, now_s)) if self._way.beside else None
        if isinstance(choice, Run) and not is_busy:
            device.running = choice.model
            device.free_at_s = device.loaded[choice.model] = now_s + self._effort.job_s
            self._took_s[choice.model].append(device.free_at_s - self._queues[choice.model].popleft())

    def _load(self, device: _Device, choice: Load, now_s: float) -> None:
        for each in choice.evicts:
            del device.loaded[each]
        device.loading, device.loaded_at_s = choice.model or "", now_s + self._effort.load_s
        self._loads += 1

    def _look(self, device: _Device, now_s: float) -> Look:
        others = [each for each in self._devices if each is not device]
        return Look(
            loaded=device.loaded,
            waiting={
                name: Waiting(jobs=len(queue), oldest_s=now_s - queue[0])
                for name, queue in self._queues.items()
                if queue
            },
            in_use={device.running} if device.free_at_s > now_s else (),
            elsewhere={name for each in others for name in (*each.loaded, each.loading)} | {device.loading},
            demand=self._demand.at(now_s),
            gb=self._gb,
            room_gb=float(self._effort.fit - bool(device.loading)),
            load_s=self._effort.load_s,
        )


def _arrivals(effort: Effort, names: list[str]) -> list[tuple[float, str]]:
    """When each job comes, in seconds, and of which model."""
    chance = random.Random(effort.seed)
    weights = [1 / rank**effort.zipf for rank in range(1, len(names) + 1)]
    rate, now_s, found = effort.load * effort.devices / effort.job_s, 0.0, []
    while (now_s := now_s + chance.expovariate(rate)) < effort.hours * 3600:
        found.append((now_s, chance.choices(names, weights)[0]))
    return found


def _least_recent(look: Look) -> tuple[str, ...]:
    return (min(look.loaded, key=lambda model: look.loaded[model]),)
