"""
Where programs of others live: virtual environments, and folders of Node's, with what is pinned and nothing of ours.

Made at first use, and kept under `.imagemill/environments`; other pins make another folder.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from ops.settings import CHECKOUT

CACHE = CHECKOUT / ".imagemill" / "environments"


class NotMade(Exception):
    """An environment cannot be made here; the text is what the installer says."""


def python_with(name: str, pins: Sequence[str], base: str = sys.executable) -> Path:
    """
    The interpreter of a virtual environment.

    Args:
        base: The interpreter that it is made with: ours, or a command of another version.

    Raises:
        NotMade
    """

    def make(folder: Path) -> None:
        _run([base, "-m", "venv", str(folder)])
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *pins])

    return _made(name, (base, *pins), make) / "bin" / "python"


def node_modules_with(name: str, pins: Sequence[str]) -> Path:
    """
    A folder `node_modules`.

    Raises:
        NotMade
    """

    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        options = ["--no-audit", "--no-fund", "--no-save", "--loglevel", "error"]
        _run([str(shutil.which("npm")), "install", "--prefix", str(folder), *options, *pins])

    return _made(name, pins, make) / "node_modules"


def _made(name: str, pins: Sequence[str], make: Callable[[Path], None]) -> Path:
    digest = hashlib.sha256(" ".join((sys.version, *pins)).encode()).hexdigest()[:12]
    folder = CACHE / f"{name}-{digest}"
    complete = folder / "complete"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / f"{name}.lock"):  # Tests that run side by side find it made.
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            complete.touch()
    return folder


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotMade(f"{' '.join(command[:4])} … failed: {(done.stdout + done.stderr).strip()[-2000:]}")
