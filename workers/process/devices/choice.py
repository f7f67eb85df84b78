"""Which device each process of a worker has, as the settings ask: every GPU that there is, some of them, or none."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from jobs.errors import InvalidConfiguration
from workers.process.devices.gpus import PROGRAM, VISIBLE, Gpu, NoGpus, usable_gpus
from workers.process.settings import WorkerSettings

log = structlog.get_logger()

SETTING = "IMAGEMILL_WORKER_DEVICES"

_KIND = "IMAGEMILL_WORKER_DEVICE"
_NUMBER = re.compile(r"\d+(:\d+)?")
_SIMULATED = re.compile(r"simulated:\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """
    What a process computes on.

    Attributes:
        mark: Sets the name of its process apart, e.g. `gpu1`; empty where there is one device alone.
        env: Variables that its process has beyond ours; torch sees no other GPU than its own.
    """

    mark: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


def find_devices(settings: WorkerSettings) -> list[Device]:
    """
    The devices that the settings ask for.

    Raises:
        InvalidConfiguration: One of them is not there, or cannot be used; says which, and what to do.
    """
    wanted = [part.strip() for part in settings.devices.split(",")]
    if wanted == ["all"]:
        return _all(settings)
    if wanted == ["cpu"]:
        return [Device(env={_KIND: "cpu"})]
    if all(map(_SIMULATED.fullmatch, wanted)):
        return _apart((f"sim{number}", {SETTING: part, _KIND: "cpu"}) for number, part in enumerate(wanted))
    wrong = [part for part in wanted if not _NUMBER.fullmatch(part)]
    if wrong:
        raise InvalidConfiguration(
            f"{SETTING}: {wrong[0]!r} does not go there; it is all, cpu, or numbers as {PROGRAM} -L has them, e.g. 0,1"
        )
    if settings.device == "cpu":
        raise InvalidConfiguration(f"{SETTING}: it names GPUs, and {_KIND} is cpu; leave one of them out")
    try:
        return _of_gpus(numbered(usable_gpus(), wanted))
    except NoGpus as exc:
        raise InvalidConfiguration(f"{SETTING}: no GPU can be used: {exc}") from exc


def numbered(gpus: Sequence[Gpu], numbers: Iterable[str]) -> list[Gpu]:
    """
    GPUs by their numbers; that of a divided one means all of its parts.

    Raises:
        InvalidConfiguration: There is none of a number.
    """
    chosen: dict[str, Gpu] = {}
    for number in numbers:
        found = {gpu.uuid: gpu for gpu in gpus if gpu.has_number(number)}
        if not found:
            there = ", ".join(gpu.number for gpu in gpus) or "none"
            raise InvalidConfiguration(f"{SETTING}: there is no GPU {number} to use; there are {there}")
        chosen |= found
    return list(chosen.values())


def _all(settings: WorkerSettings) -> list[Device]:
    if settings.device == "cpu":
        return [Device()]
    try:
        gpus = usable_gpus()
    except NoGpus as exc:
        if shutil.which(PROGRAM):
            log.warning("GPUs are not counted: there is one process", reason=str(exc))
        gpus = []
    return _of_gpus(gpus) if len(gpus) > 1 else [Device()]  # torch finds a single one by itself, or none.


def _of_gpus(gpus: Iterable[Gpu]) -> list[Device]:
    def env(gpu: Gpu) -> dict[str, str]:
        return {SETTING: gpu.number, _KIND: "cuda", VISIBLE: gpu.uuid}

    return _apart(("gpu" + gpu.number.replace(":", "-"), env(gpu)) for gpu in gpus)


def _apart(devices: Iterable[tuple[str, Mapping[str, str]]]) -> list[Device]:
    several = list(devices)
    return [Device(mark=mark if len(several) > 1 else "", env=env) for mark, env in several]
