"""
Engine, families and bench on a machine that is lent for its GPU: Python 3.12, torch 2.11, and no queue and no store.

Their unit tests run there as they are, but without `tests/conftest.py`, which has servers for those that want them.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ops.settings import CHECKOUT
from tests.borrowed.environments import ABSENT, PYTHON, TORCH, borrowed_python, find_python

WORKERS = "tests/unit/workers"
SUITES = ("engine", "families", "bench", "builtin")
DEADLINE_S = 3_600.0

pytestmark = [
    pytest.mark.skipif(find_python() is None, reason=f"there is no {PYTHON} here"),
    pytest.mark.timeout(2 * DEADLINE_S),
]


@pytest.fixture(scope="session")
def borrowed() -> Path:
    return borrowed_python()


def run(python: Path, *arguments: str) -> str:
    """What a command of the machine prints; it ends well."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("IMAGEMILL_", "PYTHON"))}
    environment = inherited | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [str(python), *arguments],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stdout[-10_000:]
    return done.stdout


def test_machine_is_another_one(borrowed: Path) -> None:
    code = f"""
import importlib.util, sys
print(sys.version_info[:2], [name for name in {ABSENT} if importlib.util.find_spec(name)])
import torch
print(torch.__version__)
"""
    versions, torch = run(borrowed, "-c", code).splitlines()[-2:]
    assert versions == "(3, 12) []"
    assert torch.startswith(TORCH)


@pytest.mark.parametrize("suite", SUITES)
def test_unit_tests_pass(borrowed: Path, suite: str) -> None:
    options = ["-q", "-m", "not long", "-p", "tests.everywhere", "-p", "no:cacheprovider", f"--confcutdir={WORKERS}"]
    said = run(borrowed, "-m", "pytest", *options, f"{WORKERS}/{suite}")
    assert " passed" in said.splitlines()[-1]
    assert "skipped" not in said.splitlines()[-1]


def test_run_that_is_prepared_for_a_gpu_runs_small(borrowed: Path, tmp_path: Path) -> None:
    models = ("--only", "small-sd-1.5", "--only", "small-qwen-image")  # a U-Net and a transformer
    said = run(borrowed, "-m", "workers.bench.gpu", "--small", "--minutes", "30", "--folder", str(tmp_path), *models)
    assert "NOT EQUAL" not in said
    assert said.splitlines()[-1] == f"written to {tmp_path / 'gpu.json'}; all is measured"
    rows = json.loads((tmp_path / "gpu.json").read_text("utf-8"))["rows"]
    assert {row["ending"] for row in rows} == {"measured"}
