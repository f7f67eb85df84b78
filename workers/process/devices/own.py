"""The device of this process, and the models of its worker that are not too large for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from workers.loading.models import choose_device
from workers.process.settings import WorkerSettings

_SIMULATED = "simulated:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """
    What a process computes on, and with.

    Attributes:
        name: Of the device, for people.
        memory_gb: Of the device's own, in GB (10⁹ bytes); None where models lie in the machine's.
        models: Names of those that it serves.
        left_out: Those that its worker serves, and that ask for more memory.
        why: What the device has, and what they ask for.
    """

    device: torch.device
    name: str
    memory_gb: float | None
    models: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    why: str = ""


def place(catalogue: Catalogue, settings: WorkerSettings) -> Placement:
    """
    What the settings of this process come to on its device.

    Raises:
        InvalidConfiguration: There is no such device, or all models are too large for it; says which, and what to do.
    """
    device, name, memory_gb = _own_device(settings)
    wanted = [catalogue.models[each] for each in settings.served(catalogue)]
    most_gb = settings.models_gb or memory_gb
    small = [each for each in wanted if (each.min_vram_gb or 0) <= (memory_gb or 0) and not _exceeds(each, most_gb)]
    large = [each for each in wanted if each not in small]
    has = f"{name} has {f'{memory_gb:.1f} GB' if memory_gb else 'no memory of its own'}"
    if not small:
        raise InvalidConfiguration(
            f"{has}, and {_asked_by(large, most_gb)} in models.toml: serve other models there "
            "(IMAGEMILL_WORKER_MODELS), or leave it out (IMAGEMILL_WORKER_DEVICES)"
        )
    return Placement(
        device=device,
        name=name,
        memory_gb=memory_gb,
        models=_names(small),
        left_out=_names(large),
        why=f"{has}, and {_asked_by(large, most_gb)}" if large else "",
    )


def _own_device(settings: WorkerSettings) -> tuple[torch.device, str, float | None]:
    """The device, its name, and its memory in GB."""
    if settings.devices.startswith(_SIMULATED):
        return choose_device("cpu"), "simulated", float(settings.devices.removeprefix(_SIMULATED))
    device = choose_device(settings.device)
    if device.type == "cpu":
        return device, "cpu", None
    name = f"GPU {settings.devices}" if settings.devices[:1].isdigit() else "GPU"
    try:
        about = torch.cuda.get_device_properties(device)
    except RuntimeError as exc:
        reason = str(exc).splitlines()[0]
        raise InvalidConfiguration(
            f"{name} cannot be used: {reason}; nvidia-smi says more. When it works again, restart the worker"
        ) from exc
    return device, f"{name}: {about.name}", about.total_memory / 1e9


def _exceeds(model: Model, most_gb: float | None) -> bool:
    return most_gb is not None and (model.memory_gb or 0) > most_gb


def _asked_by(models: Iterable[Model], most_gb: float | None) -> str:
    return ", ".join(
        f"{each.name} takes {each.memory_gb:g} where models may take {most_gb:g} (memory_gb)"
        if _exceeds(each, most_gb)
        else f"{each.name} asks for {each.min_vram_gb:g} (min_vram_gb)"
        for each in models
    )


def _names(models: Iterable[Model]) -> tuple[str, ...]:
    return tuple(each.name for each in models)
