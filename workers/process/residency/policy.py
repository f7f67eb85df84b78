"""
Which models lie on a device that cannot hold all that it serves: what to run next, what to load, and what for.

Only the decision: who asks measures how long a load takes, and how much is asked of each model. A device that loads
goes on with the models that stay; what makes room runs nothing meanwhile, and that is what a load costs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

PATIENCE_LOADS = 20.0  # How long a job waits before models make room that others wait for, in times that a load takes.
IDLE_LOADS = 0.5  # The same, before models make room that nobody waits for.
COPY_LOADS = 1.5  # The same, before a device that would stand still loads what another one has.
_HALF_LIFE_LOADS = 40.0  # After which a job counts half in the demand of its model.


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Jobs of a model that wait: how many, and for how many seconds the first of them has."""

    jobs: int
    oldest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """
    How things are on a device.

    Attributes:
        loaded: When each model that lies on it was last used; seconds of any clock.
        waiting: By model; none of those that nobody waits for.
        in_use: Models that jobs run on.
        elsewhere: Models that lie on another device, or are on their way there.
        demand: How much was asked of each model lately, in any unit.
        gb: Memory of each model.
        room_gb: Of the device, for models.
        load_s: What a load was measured to take.
    """

    loaded: Mapping[str, float]
    waiting: Mapping[str, Waiting]
    in_use: Collection[str] = ()
    elsewhere: Collection[str] = ()
    demand: Mapping[str, float] = field(default_factory=dict)
    gb: Mapping[str, float]
    room_gb: float
    load_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The oldest job of a model that lies there."""

    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A model, in the place of others; None for nothing in their place."""

    model: str | None
    evicts: tuple[str, ...]


Choice = Run | Load | None


def choose(look: Look) -> Choice:
    """
    What a device does next; None for waiting.

    It runs what is loaded, oldest first, and loads the model whose jobs are many and have waited for long: in the place
    of models that nobody waits for soon, and of others only when it has been passed over for `PATIENCE_LOADS`. Nothing
    is loaded for a job that has just come: the next one may be of a model that lies there. Where nobody waits for any
    that it could run, it loads a second copy of one that another device has.
    """
    mine = [model for model in look.waiting if model in look.loaded]
    others = [each for each in look.waiting if each not in look.loaded and each not in look.elsewhere]
    others = [each for each in others if look.gb[each] <= look.room_gb]
    for each in sorted(others, key=lambda other: _pressure(look.waiting[other]), reverse=True):
        evicts = evicted(look, each)
        patience = PATIENCE_LOADS if any(other in look.waiting for other in evicts) else IDLE_LOADS
        if look.waiting[each].oldest_s >= patience * look.load_s:
            return Load(model=each, evicts=evicts)
    if mine:
        return Run(model=max(mine, key=lambda model: look.waiting[model].oldest_s))
    return None if others else _copy(look)


def _copy(look: Look) -> Load | None:
    """A model whose jobs another device cannot get through, where this one would stand still."""
    late = [each for each in look.waiting if look.waiting[each].oldest_s >= COPY_LOADS * look.load_s]
    fitting = [each for each in late if look.gb[each] <= look.room_gb]
    if not fitting:
        return None
    model = max(fitting, key=lambda each: _pressure(look.waiting[each]))
    return Load(model=model, evicts=evicted(look, model))


def evicted(look: Look, model: str) -> tuple[str, ...]:
    """
    Those that make room for a model: first whom nobody waits for, then who runs nothing, by demand, and by when they
    were last used.
    """

    def value(each: str) -> tuple[int, bool, float, float]:
        waiting = look.waiting.get(each)
        return (waiting.jobs if waiting else 0, each in look.in_use, look.demand.get(each, 0.0), look.loaded[each])

    used_gb, out = sum(look.gb[each] for each in look.loaded), []
    for each in sorted(look.loaded, key=value):
        if used_gb + look.gb[model] <= look.room_gb:
            break
        out.append(each)
        used_gb -= look.gb[each]
    return tuple(out)


class Demand:
    """How many jobs each model was asked for lately; older ones count less and less."""

    def __init__(self, load_s: float) -> None:
        self._decay = math.log(2) / (_HALF_LIFE_LOADS * load_s)
        self._counts: dict[str, tuple[float, float]] = {}

    def note(self, model: str, now_s: float) -> None:
        """A job came."""
        self._counts[model] = (self._at(model, now_s) + 1, now_s)

    def at(self, now_s: float) -> dict[str, float]:
        """By model."""
        return {model: self._at(model, now_s) for model in list(self._counts)}

    def _at(self, model: str, now_s: float) -> float:
        count, then_s = self._counts.get(model, (0.0, now_s))
        return count * math.exp(-self._decay * (now_s - then_s))


def _pressure(waiting: Waiting) -> float:
    return math.sqrt(waiting.jobs) * (waiting.oldest_s + 1)
