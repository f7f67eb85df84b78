"""Whatever only submits runs where torch is not installed."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from producer import Client
from tests.system.conftest import CHECKOUT, DEADLINE_S

_INSTALL_S = 300


@pytest.fixture(scope="session")
def producer_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the dependencies of a producer, and no extra."""
    folder = tmp_path_factory.mktemp("producer-only")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = [str(CHECKOUT / "requirements" / "install"), str(python), "producer", "--quiet"]
    subprocess.run(install, check=True, timeout=_INSTALL_S)
    return python


@pytest.mark.long  # Installs; tests/unit/test_layers.py sees quickly that nothing imports torch.
@pytest.mark.timeout(2 * _INSTALL_S)
def test_submitting_needs_no_torch(producer_python: Path, system: Client, stack_env: dict[str, str]) -> None:
    assert sys.prefix not in str(producer_python)
    has_torch = subprocess.run([producer_python, "-c", "import torch"], capture_output=True, check=False)
    assert b"No module named 'torch'" in has_torch.stderr

    env = stack_env | {"IMAGEMILL_PYTHON": str(producer_python)}
    subprocess.run(
        [producer_python, "-c", "import producer, producer.cli.commands, ops.cli"], env=stack_env, check=True
    )
    command = [str(CHECKOUT / "imagemill"), "submit", "a red circle on a blue background", "--wait", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    assert '"status": "succeeded"' in done.stdout
