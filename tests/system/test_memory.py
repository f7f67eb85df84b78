"""A worker's memory stays where it is: 2,000 different jobs through engine and postprocessing, in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.conftest import CHECKOUT

JOBS, SETTLED_AFTER = 2_000, 200
GROWTH = 0.05
_LIMIT_S = 900  # a minute where nothing else runs


@pytest.mark.long
@pytest.mark.timeout(_LIMIT_S + 20)
def test_memory_grows_no_more_after_the_first_jobs(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.system.memory", str(JOBS), str(tmp_path)]
    done = subprocess.run(command, env=env, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    assert done.returncode == 0, done.stderr
    resident_bytes = json.loads(done.stdout.splitlines()[-1])
    assert len(resident_bytes) == JOBS // 100
    settled = resident_bytes[SETTLED_AFTER // 100 - 1]
    assert max(resident_bytes[SETTLED_AFTER // 100 :]) <= (1 + GROWTH) * settled, resident_bytes
