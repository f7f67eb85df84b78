"""What a machine has that is lent for its GPU: another Python, another torch, and nothing of a queue or a store."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from ops.settings import CHECKOUT
from tests.environments import python_with

PYTHON = "python3.12"
TORCH = "2.11.0"

# Of `requirements`, at its versions.
_PACKAGES = (
    "accelerate",
    "cachetools",
    "diffusers",
    "filelock",
    "hypothesis",
    "numpy",
    "pillow",
    "pydantic",
    "pytest",
    "pytest-timeout",
    "scipy",
    "structlog",
    "transformers",
)
ABSENT = ("celery", "kombu", "redis", "boto3", "botocore", "pydantic_settings", "opentelemetry", "prometheus_client")


def find_python() -> str | None:
    """The command of such a Python, on the PATH or of pyenv, whose own command of that name may be of none."""
    installed = sorted(Path.home().glob(f".pyenv/versions/*/bin/{PYTHON}"))
    for command in (shutil.which(PYTHON), *map(str, installed)):
        if command and subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode == 0:
            return command
    return None


def borrowed_python() -> Path:
    """
    The interpreter; made at first use, of some gigabytes.

    Raises:
        NotMade
    """
    return python_with("borrowed", [f"torch=={TORCH}", *_pins()], base=find_python() or PYTHON)


def _pins() -> list[str]:
    text = (CHECKOUT / "requirements" / "all.txt").read_text("utf-8")
    versions = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", text, re.MULTILINE))
    return [f"{name}=={versions[name]}" for name in _PACKAGES]
