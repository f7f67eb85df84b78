"""The GPUs that there are to use, as their driver's own program lists them: importing torch takes seconds."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

PROGRAM = "nvidia-smi"
VISIBLE = "CUDA_VISIBLE_DEVICES"

_ANSWER_S = 20.0  # A driver that has to wake its devices takes seconds.
_GPU = re.compile(r"GPU (\d+): .*\(UUID: (GPU-[^)]+)\)")
_PART = re.compile(r"\s+MIG \S+\s+Device\s+(\d+): \(UUID: (MIG-[^)]+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """
    A GPU, or a part of one that is divided (MIG).

    Attributes:
        number: As nvidia-smi has it, e.g. 0, or 0:1 for the second part of the first GPU.
        uuid: By which CUDA_VISIBLE_DEVICES takes it.
    """

    number: str
    uuid: str

    def has_number(self, number: str) -> bool:
        """Whether a number is its own, or that of the GPU which it is a part of."""
        return number in (self.number, self.number.partition(":")[0])


class NoGpus(Exception):
    """They cannot be used, or not be asked for: the text says why, and what to do."""


def usable_gpus() -> list[Gpu]:
    """
    Those that this process may see, and the torch that is installed can compute on.

    Raises:
        NoGpus: There is no driver, it does not answer, or there is no torch here but one for the CPU.
    """
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError as exc:
        raise NoGpus("torch is not installed") from exc
    if version.endswith("+cpu"):
        raise NoGpus(f"torch {version} computes on the CPU only; install its CUDA build")
    return visible_of(listed_in(_list()), os.environ.get(VISIBLE))


def listed_in(text: str) -> list[Gpu]:
    """The GPUs in what `nvidia-smi -L` prints; of one that is divided, its parts."""
    found: list[Gpu] = []
    whole: Gpu | None = None
    for line in text.splitlines():
        if gpu := _GPU.match(line):
            whole = Gpu(number=gpu[1], uuid=gpu[2])
            found.append(whole)
        elif whole and (part := _PART.match(line)):
            found = [each for each in found if each is not whole]
            found.append(Gpu(number=f"{whole.number}:{part[1]}", uuid=part[2]))
    return found


def visible_of(gpus: Sequence[Gpu], variable: str | None) -> list[Gpu]:
    """
    Those that CUDA_VISIBLE_DEVICES leaves, in its order; all where it is not set.

    Numbers in it are taken for those of nvidia-smi, as with CUDA_DEVICE_ORDER=PCI_BUS_ID. What comes behind an entry
    that is not there is not visible, as CUDA has it.
    """
    if variable is None:
        return list(gpus)
    found: list[Gpu] = []
    for entry in variable.split(","):
        name = entry.strip()
        meant = [gpu for gpu in gpus if name and (gpu.has_number(name) or gpu.uuid.startswith(name))]
        if not meant:
            break
        found += meant
    return found


def _list() -> str:
    program = shutil.which(PROGRAM)
    if program is None:
        raise NoGpus(f"there is no {PROGRAM} on this machine")
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NoGpus(f"{PROGRAM} does not answer: {exc}") from exc
    if done.returncode:
        said = (done.stdout + done.stderr).strip() or f"exit code {done.returncode}"
        raise NoGpus(f"{PROGRAM} fails: {said}")
    return done.stdout
