"""What a measurement was made on, so that a reader can compare it with another."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "diffusers", "transformers", "celery", "kombu", "redis", "numpy", "pillow")


def look_around(**known: Any) -> dict[str, Any]:
    """Device, cores, versions and date; `known` is what the measurement itself knows, e.g. `torch_threads`."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": _processor(),
        "cpu_count": os.cpu_count(),
        "cpus_allowed": len(os.sched_getaffinity(0)),
        "load_average_before": os.getloadavg()[0],
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
        **known,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
