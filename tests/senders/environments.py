"""
Where the clients live: a virtual environment for each version of Celery, and a folder for Node's client.

Made at first use, with nothing of ours in them, and kept under `.imagemill/senders`; other pins make another folder.
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

CACHE = CHECKOUT / ".imagemill" / "senders"
CELERY = {
    "5.3": ("celery==5.3.6", "kombu==5.3.7", "billiard==4.2.0", "vine==5.1.0", "redis==4.6.0"),
    "5.4": ("celery==5.4.0", "kombu==5.4.2", "billiard==4.2.1", "vine==5.1.0", "redis==5.2.1"),
    "5.7": ("celery==5.7.0", "kombu==5.7.0", "redis==8.1.0", "packaging==25.0"),
}
NODE_CLIENT = "celery-node@0.5.9"


class NotMade(Exception):
    """An environment cannot be made here; the text is what the installer says."""


def python_with_celery(version: str) -> Path:
    """
    The interpreter of an environment with one version of Celery.

    Raises:
        NotMade
    """

    def make(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *CELERY[version]])

    return _made(f"celery-{version}", CELERY[version], make) / "bin" / "python"


def modules_of_node() -> Path:
    """
    The `node_modules` with celery-node.

    Raises:
        NotMade
    """

    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        options = ["--no-audit", "--no-fund", "--no-save", "--loglevel", "error"]
        _run([str(shutil.which("npm")), "install", "--prefix", str(folder), *options, NODE_CLIENT])

    return _made("node", [NODE_CLIENT], make) / "node_modules"


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
