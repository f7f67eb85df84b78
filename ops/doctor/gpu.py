"""This machine's NVIDIA GPUs, as their driver reports them; torch's version is read, torch is never imported."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess

from ops.doctor.finding import Finding, State, attempt, attempt_all

GPU, TORCH = "GPU", "GPU and torch"

_PROGRAM = "nvidia-smi"
_FIELDS = "index,name,driver_version,memory.used,memory.total"  # Memory in MiB.
_ANSWER_S = 20.0  # A driver that has to wake its devices takes seconds.
_CROWDED_SHARE = 0.95
_DRIVER = f"Run {_PROGRAM}; install the driver again, or restart the machine after an update of it."


def check_gpus() -> list[Finding]:
    """All that is to be known of the GPUs."""
    return attempt_all(GPU, _check)


def _check() -> list[Finding]:
    program = shutil.which(_PROGRAM)
    if program is None:
        return [Finding(check=GPU, state=State.INFORMATION, found="no NVIDIA GPU on this machine")]
    command = [program, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return [Finding(check=GPU, state=State.FAILURE, found=f"{_PROGRAM} does not answer: {exc}", advice=_DRIVER)]
    if done.returncode:
        said = (done.stdout + done.stderr).strip() or f"exit code {done.returncode}"
        return [Finding(check=GPU, state=State.FAILURE, found=f"{_PROGRAM} fails: {said}", advice=_DRIVER)]
    gpus = [judge_line(line) for line in done.stdout.splitlines() if line.strip()]
    if not gpus:
        return [Finding(check=GPU, state=State.INFORMATION, found="a driver, but no NVIDIA GPU on this machine")]
    return [*gpus, attempt(TORCH, lambda: judge_torch(_torch_version()))]


def memory_mib() -> list[int]:
    """Of each GPU of this machine; none where its driver does not say so."""
    program = shutil.which(_PROGRAM)
    if program is None:
        return []
    command = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [int(line) for line in done.stdout.splitlines() if line.strip().isdigit()]


def judge_line(line: str) -> Finding:
    """One GPU: a line of nvidia-smi's CSV. Devices that share the machine's memory say nothing of it."""
    index, name, driver, *memory = (part.strip() for part in line.split(","))
    check, found = f"GPU {index}", f"{name}, driver {driver}"
    if len(memory) != 2 or not all(each.isdigit() for each in memory):
        return Finding(check=check, state=State.OK, found=f"{found}, memory unknown")
    used, total = (int(each) for each in memory)
    found += f", {_gb(used)} of {_gb(total)} GB used"
    if used > _CROWDED_SHARE * total:
        advice = f"{_PROGRAM} shows which process uses it. If it is not the worker, the model may not fit in the rest."
        return Finding(check=check, state=State.WARNING, found=found, advice=advice)
    return Finding(check=check, state=State.OK, found=found)


def judge_torch(version: str | None) -> Finding:
    """Whether the torch that is installed here can use the GPU; None where there is none."""
    if version is None:
        return Finding(check=TORCH, state=State.INFORMATION, found="torch is not installed: no worker runs here")
    if version.endswith("+cpu"):
        advice = "Install torch's CUDA build into the environment of the worker."
        found = f"torch {version} computes on the CPU only"
        return Finding(check=TORCH, state=State.WARNING, found=found, advice=advice)
    return Finding(check=TORCH, state=State.OK, found=f"torch {version}")


def _gb(mib: int) -> str:
    """In GB (10⁹ bytes), as cards are named."""
    return f"{(mib << 20) / 1e9:.1f}"


def _torch_version() -> str | None:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None
