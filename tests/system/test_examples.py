"""What the README shows runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from producer import Client
from tests.system.conftest import CHECKOUT, DEADLINE_S


def _run(name: str, *args: str, env: dict[str, str], cwd: Path) -> str:
    command = [sys.executable, str(CHECKOUT / "examples" / name), *args]
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_client_example_saves_a_picture(system: Client, stack_env: dict[str, str], tmp_path: Path) -> None:
    assert "saved circle.png" in _run("submit.py", env=stack_env, cwd=tmp_path)
    assert (tmp_path / "circle.png").stat().st_size > 0


def test_celery_example_needs_nothing_of_ours(system: Client, stack_env: dict[str, str], tmp_path: Path) -> None:
    env = {name: value for name, value in stack_env.items() if name != "PYTHONPATH"}
    printed = _run("submit_with_celery.py", stack_env["IMAGEMILL_REDIS_URL"], env=env, cwd=tmp_path)
    assert printed.startswith("succeeded ")
