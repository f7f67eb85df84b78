"""What models take of a device, and whether all that a worker serves lies there at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from workers.process.devices.own import Placement
from workers.process.settings import WorkerSettings

SETTING = "IMAGEMILL_WORKER_MODELS_GB"

_SHARE_OF_MODELS = 0.75  # of a device's memory; the rest is for what is computed with them


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """
    Of a worker that loads models when jobs wait for them.

    Attributes:
        room_gb: What models may take of the device together, in GB (10⁹ bytes).
        gb: What each takes, by name; all that the worker serves.
        pinned: Those that stay for good.
    """

    room_gb: float
    gb: Mapping[str, float]
    pinned: tuple[str, ...]

    def first(self) -> list[str]:
        """Those that are loaded at the start: the pinned ones, then as many others as fit, in the worker's order."""
        found, left_gb = list(self.pinned), self.room_gb - sum(self.gb[each] for each in self.pinned)
        for model in self.gb:
            if model not in found and self.gb[model] <= left_gb:
                found.append(model)
                left_gb -= self.gb[model]
        return found


def budget_of(catalogue: Catalogue, placement: Placement, settings: WorkerSettings) -> Budget | None:
    """
    The budget of a process; None where all of its models are loaded at the start, and stay.

    Raises:
        InvalidConfiguration: The settings cannot be kept with these entries; says which, and what to do.
    """
    pinned = tuple(name for name in settings.pinned_models(catalogue) if name in placement.models)
    entries = [catalogue.models[name] for name in placement.models]
    gb = {each.name: each.memory_gb for each in entries if each.memory_gb is not None}
    if len(gb) < len(entries):
        if settings.models_gb is None and settings.unload_idle_s is None:
            return None
        unknown = next(each.name for each in entries if each.name not in gb)
        raise InvalidConfiguration(
            f"memory_gb of [models.{unknown}] in models.toml is not set, and models are loaded by demand: set it to "
            f"what its weights take (./imagemill models check {unknown}), or leave {_set_by(settings)} out"
        )
    room_gb = settings.models_gb
    if room_gb is None and placement.memory_gb is not None:
        room_gb = max(_SHARE_OF_MODELS * placement.memory_gb, *gb.values())
    all_gb = sum(gb.values())
    if settings.unload_idle_s is None and (room_gb is None or all_gb <= room_gb):
        return None
    room_gb = room_gb or all_gb
    if slow := [each.name for each in entries if each.compile and each.name not in pinned]:
        raise InvalidConfiguration(
            f"compile of [models.{slow[0]}] in models.toml: that takes minutes, and the model is loaded when jobs wait "
            "for it; pin it (IMAGEMILL_WORKER_PINNED), or leave compile out"
        )
    if (pinned_gb := sum(gb[name] for name in pinned)) > room_gb:
        raise InvalidConfiguration(
            f"IMAGEMILL_WORKER_PINNED: {', '.join(pinned)} take {pinned_gb:g} GB, and there is room for {room_gb:g} GB"
        )
    free_gb = room_gb - pinned_gb
    if large := [each for each in gb if each not in pinned and gb[each] > free_gb]:
        raise InvalidConfiguration(
            f"IMAGEMILL_WORKER_PINNED: {', '.join(pinned)} leave {free_gb:g} of {room_gb:g} GB, and {large[0]} takes "
            f"{gb[large[0]]:g}; pin less, or serve it elsewhere (IMAGEMILL_WORKER_MODELS)"
        )
    return Budget(room_gb=room_gb, gb=gb, pinned=pinned)


def _set_by(settings: WorkerSettings) -> str:
    return SETTING if settings.models_gb is not None else "IMAGEMILL_WORKER_UNLOAD_IDLE_S"
